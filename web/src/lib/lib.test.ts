// The small pure things: paths, plots, avatars, devices, languages, names, traffic, health.

import { describe, expect, test } from 'vitest';
import { en } from '../texts/en.ts';
import { groundOf, initial, refusalOf } from './avatar.ts';
import { readUserAgent } from './device.ts';
import { fileName } from './download.ts';
import { healthSentence } from './health.ts';
import { chooseLanguage } from './language.ts';
import { baseHeader, baseOfBundle, pageAt, pathOf } from './paths.ts';
import { fillPath, linePath, roundTop } from './plot.ts';
import { lookUp } from './table.ts';
import { trafficOf } from './traffic.ts';
import { usernameProblem } from './usernames.ts';

describe('paths', () => {
  test('the base comes from where the bundle lies', () => {
    expect(baseOfBundle('http://192.0.2.10:8008/assets/index-a1.js')).toBe('/');
    expect(baseOfBundle('https://example.net/hosts/pve/assets/index-a1.js')).toBe('/hosts/pve/');
  });

  test.each([
    ['/', '/', 'overview'],
    ['/security', '/', 'security'],
    ['/security/', '/', 'security'],
    ['/pve/terminal', '/pve/', 'terminal'],
    ['/pve/', '/pve/', 'overview'],
    ['/pve', '/pve/', 'overview'],
    ['/pve/profile', '/pve/', 'profile'],
    ['/constructor', '/', 'unknown'],
    ['/security/deep', '/', 'unknown'],
    ['/pve/security/kit', '/pve/', 'kit'],
    ['/other', '/pve/', 'unknown'],
  ])('%s under %s is %s', (path, base, page) => { expect(pageAt(path, base)).toBe(page); });

  test('a page has one path', () => {
    expect([pathOf('overview', '/pve/'), pathOf('security', '/pve/'), pathOf('kit', '/pve/'), baseHeader('/pve/'), baseHeader('/')]).toEqual(['/pve/', '/pve/security', '/pve/security/kit', '/pve', '']);
  });
});

describe('plots', () => {
  test('the newest value is at the right edge', () => {
    expect(linePath([0, 100], 61, 100)).toBe('M295.0 72.0L300.0 1.0');
  });

  test('a missing value leaves a gap', () => {
    expect(linePath([0, null, 50], 3, 100)).toBe('M0.0 72.0M300.0 36.5');
    expect(fillPath([1, null, 1], 3, 1).match(/z/g)).toHaveLength(2);
    expect(fillPath([], 61, 1)).toBe('');
  });

  test('the scale ends at a round number', () => {
    expect([[0], [3], [51], [100], [101]].map((values) => roundTop(values))).toEqual([1, 5, 100, 100, 200]);
  });
});

describe('avatars', () => {
  test('the letter is the first character, whatever its script', () => {
    expect(['owner', ' ñandú', '🦉 owl', ''].map(initial)).toEqual(['O', 'Ñ', '🦉', '?']);
  });

  test('a name has one of eight grounds, always the same', () => {
    const grounds = Array.from({ length: 200 }, (_, index) => groundOf(`user${index}`));
    expect(new Set(grounds)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]));
    expect(groundOf('owner')).toBe(groundOf('owner'));
  });

  test.each([
    [{ type: 'image/png', size: 0 }, 'avatar_empty'],
    [{ type: 'image/svg+xml', size: 10 }, 'avatar_unsupported'],
    [{ type: 'image/png', size: 2 * 1024 * 1024 + 1 }, 'avatar_too_large'],
    [{ type: 'image/webp', size: 2 * 1024 * 1024 }, null],
  ])('%j: %s', (file, refusal) => { expect(refusalOf(file)).toBe(refusal); });
});

test('a user agent is told in words', () => {
  expect(readUserAgent('Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0')).toEqual({ browser: 'Firefox', system: 'Linux', isHandheld: false });
  expect(readUserAgent('Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1')).toEqual({ browser: 'Safari', system: 'iPhone', isHandheld: true });
  expect(readUserAgent('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0').browser).toBe('Edge');
  expect(readUserAgent('something else')).toEqual({ browser: null, system: null, isHandheld: false });
});

test('a file name holds nothing that a file system minds', () => {
  expect(fileName('proxmenux-monitor', 'pve 01/../x', 'backup-codes')).toBe('proxmenux-monitor-pve-01-..-x-backup-codes.txt');
});

test('the language is the first of the reader’s that there is', () => {
  expect([chooseLanguage(['fr', 'es-MX', 'en']), chooseLanguage(['en-GB', 'es']), chooseLanguage(['eo']), chooseLanguage([])]).toEqual(['es', 'en', 'en', 'en']);
});

test('a user name is checked as the server does', () => {
  expect(['owner', '', ' owner', 'a\u0007b', 'x'.repeat(65)].map(usernameProblem)).toEqual([null, 'usernameRequired', 'usernameSpace', 'usernameControl', 'usernameLong']);
});

test('what is carried twice is counted once', () => {
  const card = (name: string, received: number) => ({ name, rx_bytes_per_second: received, tx_bytes_per_second: 1 });
  expect(trafficOf([card('eno1', 5), card('vmbr0', 5), card('eno1.20', 2), card('wlp3s0', 1)])).toEqual({ received: 6, sent: 2 });
  expect(trafficOf([card('vmbr0', 5)])).toEqual({ received: 5, sent: 1 });
});

test('health is told by its worst reason, an unknown one by its status', () => {
  const reason = (code: string, value: number | null) => ({ code, status: 'critical' as const, subject: '/', value, limit: null });
  const tell = (...reasons: ReturnType<typeof reason>[]) => healthSentence({ status: 'critical', reasons, guestsRunning: 3 }, en, 'en');
  expect(tell(reason('disk_full', 97.4))).toBe('/ is 97\u00a0% full');
  expect(tell(reason('load_high', 80.25), reason('disk_full', 97))).toBe('The load is 80.3: work waits, and 1 more');
  expect(tell(reason('constructor', 1))).toBe(en.healthCritical);
  expect(healthSentence({ status: 'healthy', reasons: [], guestsRunning: 3 }, en, 'en')).toBe('All well, 3 guests running');
});

test('a word from the server never finds what the table did not name', () => {
  expect([lookUp({ a: 1 }, 'a'), lookUp({ a: 1 }, 'toString')]).toEqual([1, undefined]);
});
