// Both languages of what is said of proxies, loaded with the Security page.

import { en } from './en.ts';
import { es } from './es.ts';

export const proxyTexts = { en, es };
