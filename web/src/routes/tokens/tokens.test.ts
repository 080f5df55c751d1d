// What is said of a token: its state, reminders, advice, and how the first call went.

import { describe, expect, test } from 'vitest';
import type { ApiToken } from '../../api/types.ts';
import { networkName, networkProblem, splitNetworks } from './networks.ts';
import { adviceFor, endOf, firstCallOf, isLive, isPast, nameProblem, reaches, readDays, reminderOf, stateOf } from './tokens.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const at = (offsetMs: number): string => new Date(NOW + offsetMs).toISOString();

const token = (given: Partial<ApiToken> = {}): ApiToken => ({
  id: 'a1', name: 'ha-bridge', scope: 'read_only', terminal: false, last4: 'k3Qx', created_at: at(-90 * DAY), expires_at: at(200 * DAY),
  last_used_at: at(-HOUR), last_used_from: '192.0.2.31', allowed_networks: [], revoked: false, valid: true, invalidation_reason: null,
  ends_at: null, replaced_by: null, used_since_rotation: false, last_refused_at: null, last_refused_from: null, last_refused_reason: null, legacy: false,
  ...given,
});

describe('the state', () => {
  test.each<[string, Partial<ApiToken>]>([
    ['active', {}],
    ['unused', { last_used_at: null }],
    ['unverified', { valid: null, last_used_at: null }],
    ['active', { valid: null }],
    ['ending', { expires_at: at(30 * DAY) }],
    ['ending', { expires_at: at(10 * DAY), valid: null }],
    ['replaced', { ends_at: at(HOUR), replaced_by: 'b2' }],
    ['replaced', { ends_at: at(HOUR), expires_at: at(2 * DAY) }],
    ['rotated', { ends_at: at(-1), valid: false, invalidation_reason: 'rotated' }],
    ['rotated', { ends_at: at(-1) }],
    ['revoked', { revoked: true, valid: false, invalidation_reason: 'revoked' }],
    ['revoked', { revoked: true, ends_at: at(-HOUR) }],
    ['expired', { expires_at: at(-1) }],
    ['expired', { valid: false, invalidation_reason: 'expired' }],
    ['invalid', { valid: false, invalidation_reason: 'secret_changed' }],
    ['invalid', { valid: false, invalidation_reason: 'secret_changed', expires_at: at(DAY) }],
  ])('%s', (state, given) => { expect(stateOf(token(given), NOW)).toBe(state); });

  test('only what its owner ended is history, and only what is accepted is counted', () => {
    expect((['revoked', 'rotated', 'expired', 'invalid'] as const).map(isPast)).toEqual([true, true, false, false]);
    expect((['active', 'unused', 'unverified', 'ending', 'replaced'] as const).every(isLive)).toBe(true);
    expect((['revoked', 'rotated', 'expired', 'invalid'] as const).some(isLive)).toBe(false);
  });

  test('a token that is replaced ends then, if it does not expire before', () => {
    expect(endOf(token({ ends_at: at(HOUR) }))).toBe(at(HOUR));
    expect(endOf(token({ ends_at: at(9 * DAY), expires_at: at(DAY) }))).toBe(at(DAY));
  });

  test('reminders are due at thirty, seven and one day', () => {
    const due = (left: number): number | null => reminderOf(token({ expires_at: at(left) }), NOW);
    expect([30 * DAY + 1, 30 * DAY, 7 * DAY + 1, 7 * DAY, DAY + 1, DAY, -DAY].map(due)).toEqual([null, 30, 30, 7, 7, 1, 1]);
  });

  test('a scope reaches what the ones before it reach', () => {
    expect([reaches('operator', 'read_only'), reaches('read_only', 'read_only'), reaches('metrics', 'read_only')]).toEqual([true, true, false]);
  });
});

describe('the first call', () => {
  const refused = { last_refused_from: '203.0.113.80', last_refused_reason: 'wrong_network' };

  test('a token that nobody used, or that is not in the list yet, waits', () => {
    expect([firstCallOf(undefined).kind, firstCallOf(token({ last_used_at: null })).kind]).toEqual(['waiting', 'waiting']);
  });

  test('a use is received', () => {
    expect(firstCallOf(token())).toEqual({ kind: 'received', at: at(-HOUR), from: '192.0.2.31', reason: '' });
  });

  test('a refusal says why; the newer of the two counts', () => {
    expect(firstCallOf(token({ last_used_at: null, last_refused_at: at(-5), ...refused })))
      .toEqual({ kind: 'refused', at: at(-5), from: '203.0.113.80', reason: 'wrong_network' });
    expect(firstCallOf(token({ last_used_at: at(-9), last_refused_at: at(-5), ...refused })).kind).toBe('refused');
    expect(firstCallOf(token({ last_used_at: at(-5), last_refused_at: at(-5), ...refused })).kind, 'both within one second').toBe('refused');
    expect(firstCallOf(token({ last_used_at: at(-5), last_refused_at: at(-9), ...refused })).kind).toBe('received');
  });
});

describe('the advice', () => {
  const adviceOf = (...tokens: ApiToken[]): [string, string[]][] => adviceFor(tokens, NOW).map((advice) => [advice.kind, advice.tokens.map((one) => one.name)]);
  const invalid = token({ name: 'kuma', valid: false, invalidation_reason: 'secret_changed' });
  const unused = token({ name: 'backup', scope: 'full_admin', last_used_at: null });

  test('nothing is said of tokens that are well', () => {
    expect(adviceOf(token(), token({ last_used_at: null }), token({ scope: 'full_admin' }))).toEqual([]);
  });

  test('what ends within a week comes first, what ends later comes last', () => {
    const soon = token({ name: 'soon', expires_at: at(3 * DAY) });
    const later = token({ name: 'later', expires_at: at(20 * DAY) });
    expect(adviceOf(later, unused, soon, invalid)).toEqual([['ending', ['soon', 'later']], ['invalid', ['kuma']], ['unused', ['backup']]]);
    expect(adviceOf(later, unused, invalid)).toEqual([['invalid', ['kuma']], ['unused', ['backup']], ['ending', ['later']]]);
  });

  test('full rights that nobody used are named after a day, and not twice', () => {
    expect(adviceOf({ ...unused, created_at: at(-DAY + 1) })).toEqual([]);
    expect(adviceOf({ ...unused, created_at: at(-DAY) })).toEqual([['unused', ['backup']]]);
    expect(adviceOf({ ...unused, revoked: true })).toEqual([]);
    expect(adviceOf({ ...unused, expires_at: at(3 * DAY) })).toEqual([['ending', ['backup']]]);
  });

  test('nobody is reminded of a token that is being replaced', () => {
    expect(adviceOf(token({ expires_at: at(DAY), ends_at: at(HOUR) }))).toEqual([]);
  });
});

describe('what is typed', () => {
  test.each([
    ['', 'missing'],
    ['  ', 'missing'],
    ['x'.repeat(64), null],
    ['🦉'.repeat(64), null],
    ['x'.repeat(65), 'long'],
    ['a\u0007b', 'control'],
  ])('the name %j', (name, problem) => { expect(nameProblem(name)).toBe(problem); });

  test.each([['1', 1], [' 365 ', 365], ['366', null], ['0', null], ['-1', null], ['1.5', null], ['', null], ['1e2', null]])('%j days', (typed, days) => {
    expect(readDays(typed)).toBe(days);
  });

  test('networks are parted by lines, commas and spaces', () => {
    expect(splitNetworks(' 192.0.2.0/24,\n2001:db8::/32  198.51.100.7;')).toEqual(['192.0.2.0/24', '2001:db8::/32', '198.51.100.7']);
    expect(splitNetworks(' \n')).toEqual([]);
  });

  test('good networks pass', () => {
    expect(networkProblem(['192.0.2.0/24', '192.0.2.7', '0.0.0.0/0', '2001:db8::/32', '::1', '::ffff:192.0.2.1', '2001:db8::1/128'])).toBeNull();
  });

  test.each([
    ['192.0.2.0/33', { kind: 'prefix', entry: '192.0.2.0/33', longest: 32 }],
    ['2001:db8::/129', { kind: 'prefix', entry: '2001:db8::/129', longest: 128 }],
    ['192.0.2.0/', { kind: 'prefix', entry: '192.0.2.0/', longest: 32 }],
    ['192.0.2.0/-1', { kind: 'prefix', entry: '192.0.2.0/-1', longest: 32 }],
    ['192.0.2.256', { kind: 'address', entry: '192.0.2.256' }],
    ['192.0.2', { kind: 'address', entry: '192.0.2' }],
    ['192.0.2.1.', { kind: 'address', entry: '192.0.2.1.' }],
    ['192.0.2.07', { kind: 'address', entry: '192.0.2.07' }],
    ['192.0.2.0/24/8', { kind: 'address', entry: '192.0.2.0/24/8' }],
    ['2001:db8:::1', { kind: 'address', entry: '2001:db8:::1' }],
    ['nas.example.net', { kind: 'address', entry: 'nas.example.net' }],
  ])('%s does not', (entry, problem) => { expect(networkProblem(['192.0.2.1', entry])).toEqual(problem); });

  test('a single address is shown without its prefix', () => {
    expect(['192.0.2.7/32', '192.0.2.0/24', '2001:db8::7/128', '2001:db8::/32'].map(networkName)).toEqual(['192.0.2.7', '192.0.2.0/24', '2001:db8::7', '2001:db8::/32']);
  });
});
