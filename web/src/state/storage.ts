// What the page remembers in the browser: theme, language and the look of the terminal, never anything of a session.

type Key = 'monitor-theme' | 'monitor-language' | 'monitor-terminal';

/** Returns what was remembered; null also where storage is switched off. */
export function recall(key: Key): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Remembers a word, or forgets it; without storage the choice holds until the page is left. */
export function remember(key: Key, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Storage is switched off or full.
  }
}
