// What page and server say over a shell's socket, and how long the page waits between tries.

import { expect, test } from 'vitest';
import { ackFrame, endingOf, pauseMs, resizeFrame } from './wire.ts';

test('the frames are those of the contract', () => {
  expect(resizeFrame({ cols: 118, rows: 32 })).toBe('{"type":"resize","cols":118,"rows":32}');
  expect(ackFrame(65_536)).toBe('{"type":"ack","bytes":65536}');
});

test.each([
  [4000, 'exited'], [4001, 'session'], [4002, 'taken'], [4003, 'locked'], [1013, 'busy'],
  [1000, 'dropped'], [1001, 'dropped'], [1006, 'dropped'], [4999, 'dropped'],
])('a socket closed with %i is %s', (code, ending) => { expect(endingOf(code)).toBe(ending); });

test('the pauses grow, and stay bearable', () => {
  const pauses = Array.from({ length: 20 }, (_, failures) => pauseMs(failures));
  expect(pauses.slice(0, 5)).toEqual([250, 500, 1000, 2000, 4000]);
  expect(Math.max(...pauses)).toBe(4000);
});
