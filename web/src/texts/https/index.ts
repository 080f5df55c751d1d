// Both languages of what is said of HTTPS, loaded with the pages behind the door.

import { en } from './en.ts';
import { es } from './es.ts';

export const httpsTexts = { en, es };
