// The language of the page: chosen by the browser, or by the reader in Settings.

import { chooseLanguage, isLanguage, type Language } from '../lib/language.ts';
import { en, type Texts } from '../texts/en.ts';
import { recall, remember } from './storage.ts';

const KEY = 'monitor-language';

class Locale {
  /** The catalogue in use. */
  t = $state.raw<Texts>(en);
  language = $state<Language>('en');

  /** Loads the reader's language; English is at hand, the other comes when it is needed. */
  async start(): Promise<void> {
    const chosen = recall(KEY);
    await this.#use(isLanguage(chosen) ? chosen : chooseLanguage(navigator.languages));
    window.addEventListener('storage', (event) => {
      if (event.key === KEY && isLanguage(event.newValue)) void this.#use(event.newValue);
    });
  }

  /** Picks the reader's language of texts that are loaded with the screens that need them. */
  pick<T>(texts: Readonly<Record<Language, T>>): T {
    return texts[this.language];
  }

  /** Switches the language and remembers it. */
  async choose(language: Language): Promise<void> {
    remember(KEY, language);
    await this.#use(language);
  }

  async #use(language: Language): Promise<void> {
    if (language === 'es') {
      try {
        this.t = (await import('../texts/es.ts')).es;
      } catch {
        // The catalogue could not be loaded: English is better than nothing.
        return;
      }
    } else {
      this.t = en;
    }
    this.language = language;
    document.documentElement.lang = language;
  }
}

export const locale = new Locale();
