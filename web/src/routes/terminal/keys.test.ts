// The keys of the touch row, and the page's own.

import { describe, expect, test } from 'vitest';
import { sequenceOf, shortcutOf, withControl } from './keys.ts';

const plain = { isApplicationCursor: false, isControlHeld: false };

describe('Ctrl', () => {
  test.each([['c', '\u0003'], ['C', '\u0003'], ['d', '\u0004'], ['z', '\u001A'], ['[', '\u001B'], ['\\', '\u001C'], [' ', '\u0000'], ['?', '\u007F'], ['@', '\u0000'], ['_', '\u001F']])(
    'with %j is its control character', (typed, sent) => { expect(withControl(typed)).toBe(sent); });

  test('leaves alone what has none', () => {
    expect(['1', 'ñ', '\u001B[A', ''].map((typed) => withControl(typed))).toEqual(['1', 'ñ', '\u001B[A', '']);
  });
});

describe('a touch key', () => {
  test('sends what the key of a keyboard sends', () => {
    expect((['Escape', 'Tab', '|', '~'] as const).map((key) => sequenceOf(key, plain))).toEqual(['\u001B', '\t', '|', '~']);
  });

  test('sends an arrow as the running program wants it', () => {
    expect(sequenceOf('ArrowUp', plain)).toBe('\u001B[A');
    expect(sequenceOf('ArrowUp', { ...plain, isApplicationCursor: true })).toBe('\u001BOA');
    expect(sequenceOf('ArrowLeft', { isApplicationCursor: true, isControlHeld: true })).toBe('\u001B[1;5D');
  });

  test('is changed by Ctrl where it can be', () => {
    expect(sequenceOf('/', { ...plain, isControlHeld: true })).toBe('\u001F');
    expect(sequenceOf('|', { ...plain, isControlHeld: true })).toBe('|');
  });
});

describe('the page takes from the shell', () => {
  const held = { ctrlKey: true, shiftKey: true, altKey: false, metaKey: false };

  test.each([['F6', 'leave'], ['KeyC', 'copy'], ['KeyV', 'paste'], ['KeyF', 'search'], ['ArrowRight', 'next'], ['ArrowLeft', 'previous']])(
    'Ctrl+Shift+%s', (code, shortcut) => { expect(shortcutOf({ ...held, code })).toBe(shortcut); });

  test('nothing else', () => {
    expect(shortcutOf({ ...held, code: 'KeyA' })).toBeNull();
    expect(shortcutOf({ ...held, shiftKey: false, code: 'KeyC' })).toBeNull();
    expect(shortcutOf({ ...held, ctrlKey: false, code: 'F6' })).toBeNull();
    expect(shortcutOf({ ...held, altKey: true, code: 'KeyV' })).toBeNull();
  });
});
