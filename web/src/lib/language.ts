// Which of the page's languages a reader gets.

export const LANGUAGES = ['en', 'es'] as const;
export type Language = (typeof LANGUAGES)[number];

/** How each language calls itself. */
export const LANGUAGE_NAMES: Record<Language, string> = { en: 'English', es: 'Español' };

/** Returns the first language of the reader that the page has, else English. */
export function chooseLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const match = LANGUAGES.find((language) => tag.toLowerCase().split('-')[0] === language);
    if (match !== undefined) return match;
  }
  return 'en';
}

/** Tells whether a stored word is a language of the page. */
export function isLanguage(word: unknown): word is Language {
  return LANGUAGES.some((language) => language === word);
}
