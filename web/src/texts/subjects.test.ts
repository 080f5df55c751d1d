// The texts that are loaded with a page keep the rules of the catalogue.

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { httpsTexts } from './https/index.ts';
import { proxyTexts } from './proxies/index.ts';
import { terminalTexts } from './terminal/index.ts';
import { tokenTexts } from './tokens/index.ts';

const SUBJECTS = { tokens: tokenTexts, terminal: terminalTexts, https: httpsTexts, proxies: proxyTexts };

/** Looked up by a word that comes from the server or from a table. */
const BY_WORD = new Set(['tokens.states', 'tokens.refusals', 'tokens.scopes', 'tokens.programs', 'tokens.places', 'tokens.words', 'tokens.made', 'terminal.states', 'terminal.keyNames',
  'https.acmeFaults', 'https.acmeSteps', 'https.acmeStepStates', 'https.checkNames', 'https.checkResults', 'https.outcome', 'https.cert', 'proxies.why', 'proxies.trust', 'proxies.remove', 'proxies.list', 'proxies.programs']);

function leavesOf(node: object, path: string[] = []): [string[], unknown][] {
  return Object.entries(node).flatMap(([key, value]) =>
    typeof value === 'object' ? leavesOf(value as object, [...path, key]) : [[[...path, key], value] as [string[], unknown]]);
}

const namesOf = (node: object): string[] => leavesOf(node).map(([path, value]) => `${path.join('.')} (${typeof value})`);
const stringsOf = (node: object): string[] => leavesOf(node).flatMap(([, value]) => typeof value === 'string' ? [value] : []);

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(?:ts|svelte)$/.test(name) && !name.startsWith('texts') && !name.endsWith('.test.ts'))
  .map((name) => readFileSync(`${root}/${name}`, 'utf8'))
  .join('\n');

describe.each(Object.entries(SUBJECTS))('%s', (subject, { en, es }) => {
  test('both languages have every key', () => { expect(namesOf(es)).toEqual(namesOf(en)); });

  test('no sentence is empty, and none shouts', () => {
    expect([...stringsOf(en), ...stringsOf(es)].filter((text) => text.trim() === '' || text.includes('!'))).toEqual([]);
  });

  test('sentences are translated, not copied', () => {
    const names = new Set<string>(Object.values(tokenTexts.en.programs));
    const sentences = new Set(stringsOf(en).filter((text) => text.includes(' ') && !names.has(text)));
    expect(stringsOf(es).filter((text) => sentences.has(text))).toEqual([]);
  });

  test('each text is used', () => {
    const unused = leavesOf(en).map(([path]) => path)
      .filter((path) => !BY_WORD.has(`${subject}.${path[0] ?? ''}`) && !sources.includes(path.slice(-2).join('.')))
      .map((path) => path.join('.'));
    expect(unused).toEqual([]);
  });
});

test('what the contract says of tokens stands in its words', () => {
  expect([tokenTexts.en.section.title, tokenTexts.en.states.invalid]).toEqual(['API Access Tokens', 'Invalid — regenerate']);
});
