// The texts of the second factor, passkeys and the recovery kit, in both languages.

import { en } from './en.ts';
import { es } from './es.ts';

export const factors = { en, es };
