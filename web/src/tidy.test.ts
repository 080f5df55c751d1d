// The rules of the page's own tree: walls between its rooms, one place for colours, nothing inline.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('.', import.meta.url));

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(?:ts|svelte|css)$/.test(name) && !name.endsWith('.test.ts'))
  .map((name) => ({ name, text: readFileSync(join(root, name), 'utf8') }));

const offenders = (pattern: RegExp, within: RegExp, but: RegExp = /^$/): string[] =>
  files.filter(({ name, text }) => within.test(name) && !but.test(name) && pattern.test(text)).map(({ name }) => relative('.', name));

describe('the tree', () => {
  test.each([
    ['parts know nothing of the product', /from '\.\.\/(?:api|state|routes|texts)\//, /^parts\//],
    ['api imports nothing but types', /^import (?!type )/m, /^api\//],
    ['lib is pure', /from '\.\.\/(?:state|routes|parts)\/|\bfetch\(|localStorage/, /^lib\//],
    ['state knows no screens', /from '\.\.\/(?:routes|parts)\//, /^state\//],
  ])('%s', (_rule, pattern, within) => { expect(offenders(pattern, within)).toEqual([]); });

  test('only the client talks to the server', () => {
    expect(offenders(/\bfetch\(|XMLHttpRequest|sendBeacon|\bWebSocket\(/, /./, /^api\/client\.ts$/)).toEqual([]);
  });

  test('only theme, language and the look of the terminal are kept in the browser', () => {
    expect(offenders(/localStorage|sessionStorage|indexedDB|document\.cookie/, /./, /^state\/storage\.ts$/)).toEqual([]);
    const storage = files.find(({ name }) => name === 'state/storage.ts')?.text ?? '';
    expect(storage.match(/type Key = (.*);/)?.[1]).toBe("'monitor-theme' | 'monitor-language' | 'monitor-terminal'");
  });

  test('colours stand in one file', () => {
    expect(offenders(/#[0-9a-f]{3,8}\b(?=[;,) ])|\b(?:rgb|hsl|oklch)a?\(/i, /\.(?:css|svelte)$/, /^app\.css$/)).toEqual([]);
  });

  test('nothing is inline, for the policy forbids it', () => {
    expect(offenders(/\sstyle=["{]|\sstyle:|\{@html/, /\.svelte$/)).toEqual([]);
    const html = readFileSync(join(root, '../index.html'), 'utf8');
    expect(html).not.toMatch(/<style|style=|<script(?![^>]*src=)|\son\w+=/);
  });

  test('each file says first what it is for', () => {
    const silent = files.filter(({ text }) => !/^(?:\/\/|\/\*|<!--) ?\S/.test(text)).map(({ name }) => name);
    expect(silent).toEqual([]);
  });
});
