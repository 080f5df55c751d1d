// What may be typed into the code field.

import { describe, expect, test } from 'vitest';
import { compactCode, formatClaimCode, grouped, isAppCode, isClaimCode, isComplete, isSentByItself, secondsLeftOnCode } from './codes.ts';

describe('a second-step code', () => {
  test.each([
    ['123456', true, true],
    ['123 456', true, true],
    ['12345', false, false],
    ['1234567', false, false],
    ['H7KM-2QXV', true, true],
    ['h7km2qxv', true, true],
    ['H7KM-2Q', false, false],
    // The beginning of a backup code of digits alone is no code of an app.
    ['2345-67', true, false],
    ['2345-6789', true, true],
    ['', false, false],
  ])('%s is complete: %s, sent by itself: %s', (typed, complete, sent) => {
    expect([isComplete(typed), isSentByItself(typed)]).toEqual([complete, sent]);
  });

  test('of an app is six digits and nothing else', () => {
    expect(['123456', '123 456', '12345', '1234567', 'H7KM-2QXV', '12345a', ''].map(isAppCode)).toEqual([true, true, false, false, false, false, false]);
  });

  test('loses what people put between the characters', () => {
    expect(compactCode(' h7km – 2qxv ')).toBe('H7KM2QXV');
  });

  test('holds until the next half minute', () => {
    expect([secondsLeftOnCode(0), secondsLeftOnCode(29_000), secondsLeftOnCode(30_000)]).toEqual([30, 1, 30]);
  });
});

test('a secret is read in groups of four', () => {
  expect(grouped('KV3XO7DMQ2')).toEqual(['KV3X', 'O7DM', 'Q2']);
  expect(grouped('')).toEqual([]);
});

describe('a claim code', () => {
  test('is put into groups', () => {
    expect(formatClaimCode('ABCD efgh-ij')).toBe('ABCD-EFGH-IJ');
    expect(formatClaimCode('abcdefghabcdxyz')).toBe('ABCD-EFGH-ABCD');
  });

  test('has twelve letters', () => {
    expect([isClaimCode('abcd-efgh-abc'), isClaimCode('abcd-efgh-abcd')]).toEqual([false, true]);
  });
});
