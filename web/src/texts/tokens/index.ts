// Both languages of the tokens' texts, loaded with the Security page.

import { en } from './en.ts';
import { es } from './es.ts';

export const tokenTexts = { en, es };
