// Fresh backup codes live as long as the pages that show them, and no longer.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { kit } from './kit.svelte.ts';

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => { vi.useRealTimers(); });

test('they are kept between Security and the kit, and forgotten anywhere else', () => {
  kit.hold(['H7KM-2QXV']);
  kit.follow('security');
  kit.follow('kit');
  expect(kit.codes).toEqual(['H7KM-2QXV']);
  kit.follow('overview');
  expect(kit.codes).toBeNull();
});

test('after ten minutes they are gone, counted from the newest', () => {
  kit.hold(['H7KM-2QXV']);
  vi.advanceTimersByTime(9 * 60_000);
  kit.hold(['9TRB-WC4E']);
  vi.advanceTimersByTime(9 * 60_000);
  expect(kit.codes).toEqual(['9TRB-WC4E']);
  vi.advanceTimersByTime(60_000);
  expect(kit.codes).toBeNull();
});
