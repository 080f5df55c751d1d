// The mirror of `access/passwords.rs`.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { brokenRules, countClasses, isCommon, parseCommonList, type Circumstances } from './passwords.ts';

const common = parseCommonList(readFileSync(new URL('../../../data/common-passwords.txt', import.meta.url), 'utf8'));

const circumstances: Circumstances = {
  policy: {
    min_length: 10,
    min_classes: 3,
    passphrase_min_length: 20,
    passphrase_min_distinct: 8,
    max_bytes: 1024,
    product_names: ['proxmenux', 'proxmenux monitor'],
  },
  names: ['owner', 'pve-01.example.net'],
  common,
};

const broken = (password: string): string[] => brokenRules(password, circumstances);

describe('a new password', () => {
  test.each([
    ['harbour-Lamp7', []],
    ['Short-7', ['length']],
    ['only lower case here', []],
    ['onlylowercase', ['classes']],
    ['aaaaaaaaaaaaaaaaaaaaaaaa', ['classes']],
    ['Password123!', ['common']],
    ['Qwertyuiop1!', ['common']],
    ['owner-Owner1', ['names']],
    ['Pve-01pve-01!', ['names']],
    ['ProxMenux1!', ['names']],
    ['ProxMenux watches my cellar 7', []],
    ['', ['length', 'classes']],
  ])('%s breaks %j', (password, rules) => {
    expect(broken(password)).toEqual(rules);
  });

  test('is counted in characters, not in units of UTF-16', () => {
    expect(broken('🔑🔒🚪🏠🌙Ab1xy')).toEqual([]);
    expect(broken('🔑🔒🚪Ab1')).toEqual(['length']);
  });

  test('is measured in its composed form', () => {
    expect(broken('e\u0301'.repeat(9))).toContain('length');
  });

  test('is at most so many bytes long', () => {
    expect(broken(`Aa1!${'xyzw'.repeat(300)}`)).toEqual(['too_long']);
  });

  test('may hold a short name', () => {
    expect(brokenRules('Bob-bob-BOB-1', { ...circumstances, names: ['bob'] })).toEqual([]);
  });
});

describe('classes', () => {
  test.each([['abc', 1], ['aB', 2], ['aB1', 3], ['aB1!', 4], ['ñÑ٣ ', 4], ['漢字', 1]])('%s has %i', (text, classes) => {
    expect(countClasses(text)).toBe(classes);
  });
});

describe('the list of common passwords', () => {
  test('is matched in any case and with ornaments behind', () => {
    expect(['PASSWORD', 'password2024!', '123456'].map((text) => isCommon(text, common))).toEqual([true, true, true]);
    expect(isCommon('harbour-lamp7', common)).toBe(false);
  });

  test('does not refuse everything while it is not loaded', () => {
    expect(isCommon('password', new Set())).toBe(false);
  });
});
