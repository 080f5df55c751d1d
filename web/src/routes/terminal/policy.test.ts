// xterm, as it is built in, has no style that the page's policy forbids.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { fitted } from '../../../build/policy.ts';
import { hex } from './palette.ts';

const source = readFileSync(createRequire(import.meta.url).resolve('@xterm/xterm').replace(/xterm\.js$/, 'xterm.mjs'), 'utf8');

test('nothing in it is an inline style, or runs text as a program', () => {
  const inline = /createElement\(["'`]style|setAttribute\(["'`]style|innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(/;
  expect(source).toMatch(inline);
  expect(fitted(source)).not.toMatch(inline);
});

test('another version, in which the places are not found, does not build', () => {
  expect(() => fitted(source.replace('createElement("style")', 'createElement(`style`)'))).toThrow(/xterm has 2 of/);
  expect(() => fitted('')).toThrow(/xterm has 0 of/);
});

test('a computed colour becomes what xterm reads', () => {
  expect(['rgb(20, 25, 26)', 'rgb(255, 0, 0)', 'rgba(9, 13, 14, 0.5)'].map((colour) => hex(colour))).toEqual(['#14191a', '#ff0000', '#090d0e']);
});
