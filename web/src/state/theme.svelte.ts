// Light, dark, or as the system has it. `theme.js` sets it before the first paint.

import { recall, remember } from './storage.ts';

export const THEMES = ['light', 'dark', 'system'] as const;
export type ThemeName = (typeof THEMES)[number];

const KEY = 'monitor-theme';

function asTheme(word: string | null): ThemeName {
  return word === 'light' || word === 'dark' ? word : 'system';
}

class Theme {
  name = $state<ThemeName>(asTheme(recall(KEY)));

  /** Follows the choice made in another tab. */
  start(): void {
    window.addEventListener('storage', (event) => {
      if (event.key === KEY) this.#apply(asTheme(event.newValue));
    });
  }

  /** Switches the theme and remembers it. */
  choose(name: ThemeName): void {
    remember(KEY, name === 'system' ? null : name);
    this.#apply(name);
  }

  /** Goes on to the next theme: light, dark, system. */
  next(): void {
    this.choose(THEMES[(THEMES.indexOf(this.name) + 1) % THEMES.length] ?? 'system');
  }

  #apply(name: ThemeName): void {
    this.name = name;
    if (name === 'system') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', name);
  }
}

export const theme = new Theme();
