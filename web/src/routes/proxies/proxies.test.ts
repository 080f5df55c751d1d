// The way of a request in order, who wants to be trusted, and what may be.

import { expect, test } from 'vitest';
import type { ProxyCheck } from '../../api/types.ts';
import { hopsOf, isProxied, isThisHost, likelyHost, sizeOf, strangersOf, trustProblem } from './proxies.ts';

function check(changes: Partial<ProxyCheck> = {}): ProxyCheck {
  return {
    peer: '192.0.2.7', peer_trusted: false, address: '192.0.2.7', network: 'lan', https: false, host: 'pve', host_allowed: true, header: 'x-forwarded-for', headers: [],
    chain: [{ address: '192.0.2.7', trusted: false, why: 'client' }], trusted_proxies: ['127.0.0.0/8'], trusted_from: 'default', suggestion: null, seen: [], socket: 'ws/proxy-check', ...changes,
  };
}
const kinds = (one: ProxyCheck) => hopsOf(one).map(({ address, kind }) => [address, kind]);
const through = check({
  peer: '127.0.0.1', peer_trusted: true, address: '198.51.100.24', headers: [{ name: 'x-forwarded-for', value: '198.51.100.24', believed: true }],
  chain: [{ address: '127.0.0.1', trusted: true, why: 'trusted_proxy' }, { address: '198.51.100.24', trusted: false, why: 'client' }],
});

test('the hops go from the visitor to the host', () => {
  expect(kinds(check())).toEqual([['192.0.2.7', 'visitor']]);
  expect(kinds(through)).toEqual([['198.51.100.24', 'visitor'], ['127.0.0.1', 'proxy']]);
  const allTrusted = check({ address: '127.0.0.2', chain: [{ address: '127.0.0.1', trusted: true, why: 'trusted_proxy' }, { address: '127.0.0.2', trusted: true, why: 'leftmost' }] });
  expect(kinds(allTrusted)).toEqual([['127.0.0.2', 'visitor'], ['127.0.0.1', 'proxy']]);
});

test('a proxy is one that spoke for somebody', () => {
  expect([check(), through, check({ headers: [{ name: 'via', value: 'x', believed: false }] })].map(isProxied)).toEqual([false, true, true]);
});

test('who brought this page is the first to decide on, and stands there once', () => {
  const seen = ['198.51.100.9', '192.0.2.40'].map((address) => ({ address, last_seen_at: '2026-11-25T09:00:00Z', requests: 2 }));
  expect(strangersOf(check({ seen, suggestion: '192.0.2.40/32' })).map(({ network }) => network)).toEqual(['192.0.2.40', '198.51.100.9']);
  expect(strangersOf(check({ suggestion: '2001:db8::40/128' }))).toEqual([{ network: '2001:db8::40', lastSeenAt: null, requests: 0 }]);
});

test.each([
  ['', 'missing'], ['192.0.2.1 192.0.2.2', 'single'], ['0.0.0.0/0', 'everyone'], ['::/0', 'everyone'], ['192.0.2.0/33', 'prefix'], ['nas', 'address'],
  ['127.0.0.0/8', 'already'], ['192.0.2.40', undefined], ['2001:db8::/64', undefined],
])('trusting “%s”: %s', (typed, kind) => { expect(trustProblem(typed, ['127.0.0.0/8'])?.kind).toBe(kind); });

test('networks are told by their size and place', () => {
  expect(['192.0.2.40', '192.0.2.0/24', '2001:db8::/64'].map(sizeOf)).toEqual([0, 8, 64]);
  expect(['127.0.0.0/8', '::1/128', '192.0.2.0/24', '12.7.0.0/16'].map(isThisHost)).toEqual([true, true, false, false]);
});

test('a host name to begin with is never an address', () => {
  expect(['192.0.2.10', '[2001:db8::1]', 'localhost', 'pve.example.net'].map(likelyHost)).toEqual(['monitor.example.net', 'monitor.example.net', 'monitor.example.net', 'pve.example.net']);
});
