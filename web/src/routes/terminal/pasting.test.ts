// Many lines are asked about; one never runs by itself.

import { expect, test } from 'vitest';
import { pasteOf } from './pasting.ts';

test.each([
  ['uptime', { text: 'uptime', lines: 1 }],
  ['uptime\n', { text: 'uptime', lines: 1 }],
  ['uptime\r\n', { text: 'uptime', lines: 1 }],
  ['one\ntwo', { text: 'one\ntwo', lines: 2 }],
  ['one\r\ntwo\r\n', { text: 'one\r\ntwo\r\n', lines: 2 }],
  ['one\rtwo', { text: 'one\rtwo', lines: 2 }],
  ['\n', { text: '', lines: 1 }],
])('%j', (text, paste) => { expect(pasteOf(text)).toEqual(paste); });
