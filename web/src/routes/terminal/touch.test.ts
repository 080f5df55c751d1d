// A finger moves whole lines, and loses nothing on the way.

import { expect, test } from 'vitest';
import { lineCounter } from './touch.ts';

test('small moves add up to lines, in both directions', () => {
  const count = lineCounter(() => 15);
  expect([7, 7, 7, 7, 7].map((pixels) => count(pixels))).toEqual([0, 0, 1, 0, 1]);
  expect([-5, -15, -100].map((pixels) => Math.abs(count(pixels)))).toEqual([0, 1, 6]);
});

test('a screen without height moves nothing', () => { expect(lineCounter(() => 0)(100)).toBe(0); });
