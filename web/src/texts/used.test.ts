// No sentence is kept that nobody says.

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { en } from './en.ts';
import { en as factors } from './factors/en.ts';

/** Looked up by a word that comes from the server or from a table. */
const BY_WORD = new Set(['errors', 'passkeyFailures', 'warnings', 'reasons', 'nav', 'theme', 'limited.from', 'sessions.network', 'sessions.factor', 'setup', 'password', 'unit', 'passkeys.obstacle']);

test('each text is used', () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(?:ts|svelte)$/.test(name) && !name.startsWith('texts'))
    .map((name) => readFileSync(`${root}/${name}`, 'utf8'))
    .join('\n');
  const unused = (node: object, path: string[]): string[] => Object.entries(node).flatMap(([key, value]) => {
    const here = [...path, key];
    if (BY_WORD.has(here.join('.'))) return [];
    if (typeof value === 'object') return unused(value as object, here);
    return sources.includes(path.length === 0 ? `t.${key}` : here.slice(-2).join('.')) ? [] : [here.join('.')];
  });
  expect([...unused(en, []), ...unused(factors, [])]).toEqual([]);
});
