// Numbers and times as people read them.

import { describe, expect, test } from 'vitest';
import { bitRate, countdown, duration, joined, memory, percent, relative, space, unbroken, until } from './format.ts';

const units = { seconds: (n: number) => `${n} s`, minutes: (n: number) => `${n} min`, hours: (n: number) => `${n} h`, days: (n: number) => `${n} d` };

describe('sizes and shares', () => {
  test.each([
    [joined(memory(0, 'en')), '0\u00a0B'],
    [joined(memory(88_000_000, 'en')), '83.9\u00a0MiB'],
    [joined(space(1.81e12, 'es')), '1,8\u00a0TB'],
    [joined(bitRate(6.02e6, 'en')), '48.2\u00a0Mbit/s'],
    [percent(4.23, 'en'), '4.2\u00a0%'],
    [percent(97.4, 'es'), '97\u00a0%'],
  ])('%s', (written, wanted) => { expect(written).toBe(wanted); });
});

describe('times', () => {
  const now = Date.UTC(2026, 10, 24, 12);

  test.each([
    [now - 12 * 60_000, 'en', '12 minutes ago'],
    [now - 12 * 60_000, 'es', 'hace 12 minutos'],
    [now - 86_400_000, 'en', 'yesterday'],
    [now, 'en', 'now'],
    [now + 59_000, 'en', 'in 59 seconds'],
  ])('%i in %s is %s', (then, language, wanted) => { expect(relative(then, now, language)).toBe(wanted); });

  test('an end within two months is told in days', () => {
    const days = (n: number): string => until(now + n * 86_400_000 + 5000, now, 'en');
    expect([0.5, 1, 2, 10, 60, 61, -3].map(days)).toEqual(['in 12 hours', 'tomorrow', 'in 2 days', 'in 10 days', 'in 60 days', 'in 2 months', '2 days ago']);
  });

  test('a countdown has hours only where there are any', () => {
    expect([countdown(186), countdown(0.2), countdown(-3), countdown(3_661)]).toEqual(['3:06', '0:01', '0:00', '1:01:01']);
  });

  test('a length of time has two units at most', () => {
    expect(duration(90_061, units, 1)).toBe('1 d');
    expect([0, 59, 250, 3600, 90_061].map((seconds) => duration(seconds, units))).toEqual(['0 s', '59 s', '4 min 10 s', '1 h', '1 d 1 h']);
  });
});

test('a host name does not break, and looks the same', () => {
  expect(unbroken('pve-01').replaceAll('\u2060', '')).toBe('pve-01');
  expect(unbroken('pve-01')).toContain('-\u2060');
});
