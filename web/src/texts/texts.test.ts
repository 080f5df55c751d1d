// Both languages say everything, and each in its own words.

import { describe, expect, test } from 'vitest';
import { en } from './en.ts';
import { es } from './es.ts';

function keysOf(node: object, path = ''): string[] {
  return Object.entries(node).flatMap(([key, value]) =>
    typeof value === 'object' ? keysOf(value as object, `${path}${key}.`) : [`${path}${key} (${typeof value})`]);
}

function stringsOf(node: object): string[] {
  return Object.values(node).flatMap((value) => typeof value === 'object' ? stringsOf(value as object) : typeof value === 'string' ? [value] : []);
}

describe('the catalogue', () => {
  test('both languages have every key', () => {
    expect(keysOf(es)).toEqual(keysOf(en));
  });

  test('no sentence is empty', () => {
    expect([...stringsOf(en), ...stringsOf(es)].filter((text) => text.trim() === '')).toEqual([]);
  });

  test('sentences are translated, not copied', () => {
    const sentences = new Set(stringsOf(en).filter((text) => text.includes(' ') && text !== en.product));
    expect(stringsOf(es).filter((text) => sentences.has(text))).toEqual([]);
  });

  test('the first question keeps the words of the contract', () => {
    expect([en.firstLaunch.title, en.firstLaunch.yes, en.firstLaunch.no])
      .toEqual(['Protect Your Dashboard?', 'Yes, Setup Password', 'No, Continue Without Protection']);
  });

  test('one and many are told apart', () => {
    expect([en.security.sessions(1), en.security.sessions(2)]).toEqual(['1 session', '2 sessions']);
    expect([es.security.sessions(1), es.security.sessions(2)]).toEqual(['1 sesión', '2 sesiones']);
    expect([es.disable.lead(1).slice(0, 16), es.disable.lead(3).slice(0, 19)]).toEqual(['Termina 1 sesión', 'Terminan 3 sesiones']);
  });
});
