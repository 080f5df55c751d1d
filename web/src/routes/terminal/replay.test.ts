// What comes once more is told from what is new.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Replay } from './replay.ts';

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => { vi.useRealTimers(); });

test('it lasts while output comes, and ends with the first pause', () => {
  const replay = new Replay();
  expect(replay.isOn).toBe(false);
  replay.start();
  for (let at = 0; at < 10; at += 1) {
    vi.advanceTimersByTime(200);
    replay.heard();
    expect(replay.isOn).toBe(true);
  }
  vi.advanceTimersByTime(250);
  expect(replay.isOn).toBe(false);
  replay.heard();
  expect(replay.isOn).toBe(false);
});

test('it ends where somebody types, and in any case', () => {
  const replay = new Replay();
  replay.start();
  replay.stop();
  expect(replay.isOn).toBe(false);
  replay.start();
  for (let at = 0; at < 50; at += 1) {
    vi.advanceTimersByTime(100);
    replay.heard();
  }
  expect(replay.isOn).toBe(false);
});
