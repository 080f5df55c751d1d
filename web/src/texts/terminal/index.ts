// Both languages of the terminal's texts, loaded with its page.

import { en } from './en.ts';
import { es } from './es.ts';

export const terminalTexts = { en, es };
