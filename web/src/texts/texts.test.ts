// Both languages say everything, and each in its own words.

import { describe, expect, test } from 'vitest';
import { en } from './en.ts';
import { es } from './es.ts';
import { factors } from './factors/index.ts';

function keysOf(node: object, path = ''): string[] {
  return Object.entries(node).flatMap(([key, value]) =>
    typeof value === 'object' ? keysOf(value as object, `${path}${key}.`) : [`${path}${key} (${typeof value})`]);
}

function stringsOf(node: object): string[] {
  return Object.values(node).flatMap((value) => typeof value === 'object' ? stringsOf(value as object) : typeof value === 'string' ? [value] : []);
}

describe.each([['the catalogue', en, es], ['the texts of the factors', factors.en, factors.es]] as const)('%s', (_name, english, spanish) => {
  test('has every key in both languages', () => {
    expect(keysOf(spanish)).toEqual(keysOf(english));
  });

  test('has no empty sentence', () => {
    expect([...stringsOf(english), ...stringsOf(spanish)].filter((text) => text.trim() === '')).toEqual([]);
  });

  test('is translated, not copied', () => {
    const sentences = new Set(stringsOf(english).filter((text) => text.includes(' ') && text !== en.product));
    expect(stringsOf(spanish).filter((text) => sentences.has(text))).toEqual([]);
  });

  test('does not shout', () => {
    expect([...stringsOf(english), ...stringsOf(spanish)].filter((text) => /[!¡]/.test(text))).toEqual([]);
  });
});

describe('the words', () => {
  test('the first question keeps the words of the contract', () => {
    expect([en.firstLaunch.title, en.firstLaunch.yes, en.firstLaunch.no])
      .toEqual(['Protect Your Dashboard?', 'Yes, Setup Password', 'No, Continue Without Protection']);
  });

  test('one and many are told apart', () => {
    expect([en.security.sessions(1), en.security.sessions(2)]).toEqual(['1 session', '2 sessions']);
    expect([es.security.sessions(1), es.security.sessions(2)]).toEqual(['1 sesión', '2 sesiones']);
    expect([factors.en.ask.offLead(0).endsWith('forgotten.'), factors.en.ask.offLead(1).endsWith('1 other session ends.')]).toEqual([true, true]);
    expect([factors.es.ask.offLead(1).endsWith('Termina 1 sesión más.'), factors.es.ask.offLead(2).endsWith('Terminan otras 2 sesiones.')]).toEqual([true, true]);
    expect([es.disable.lead(1).slice(0, 16), es.disable.lead(3).slice(0, 19)]).toEqual(['Termina 1 sesión', 'Terminan 3 sesiones']);
  });
});
