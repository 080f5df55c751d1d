// How it stands with HTTPS, the order of what was checked, paths, names, and the way to the other scheme.

import { describe, expect, test } from 'vitest';
import type { Acme, CertificateInfo, TlsStatus } from '../api/types.ts';
import { LETS_ENCRYPT } from './acme.ts';
import { browserDoubt, commonName, failuresFirst, pathProblem, standingOf, toneOf } from './certificates.ts';
import { addressUnder } from './scheme.ts';

const NOW = Date.parse('2026-11-25T09:00:00Z');

function status(changes: Partial<TlsStatus> = {}, days = 61): TlsStatus {
  const info: CertificateInfo = {
    subject: 'CN=pve-01', issuer: 'CN=pve-01', not_before: '2026-01-01T00:00:00Z', expires: new Date(NOW + days * 86_400_000 + 1000).toISOString(),
    days_left: days, is_self_signed: true, names: ['pve-01'], key_kind: 'EC P-256', fingerprint_sha256: 'AA:BB',
  };
  return {
    ssl_enabled: true, trial: null, source: 'self_signed', cert_path: null, key_path: null, proxmox_available: false, proxmox_cert: null, proxmox_key: null,
    cert_info: info, serving: 'configured', problem: null, over_tls: true, hsts: false, acme: null, ...changes,
  };
}

describe('the standing', () => {
  test.each([[61, 'on'], [31, 'on'], [30, 'ending'], [8, 'ending'], [7, 'urgent'], [2, 'urgent'], [1, 'last_day'], [0, 'last_day'], [-1, 'expired']] as const)('%i days left: %s', (days, standing) => {
    expect(standingOf(status({}, days), NOW)).toBe(standing);
  });

  test('what needs somebody comes before what nears its end', () => {
    const trial = { ends_at: '2026-11-25T09:02:00Z', source: 'custom', reverts_to: 'http' } as const;
    expect([standingOf(status({ ssl_enabled: false }), NOW), standingOf(status({ serving: 'last_good' }, 3), NOW), standingOf(status({ serving: 'emergency' }, -1), NOW), standingOf(status({ trial, serving: 'emergency' }), NOW)])
      .toEqual(['off', 'last_good', 'emergency', 'trial']);
  });

  test('what is renewed by itself needs nobody, unless its renewal is late or has failed', () => {
    const acme = (changes: Partial<Acme>): Acme => ({
      names: ['dash.example.net'], email: null, directory: LETS_ENCRYPT, challenge: 'http-01', order: null, certificate: null, renews_at: '2026-11-25T08:00:00Z', next_try_at: null, ...changes,
    });
    const failed = { state: 'failed', step: 'challenge', started_at: '2026-11-25T08:00:00Z', ended_at: '2026-11-25T08:00:10Z', problem: 'no answer' } as const;
    const standing = (changes: Partial<Acme>, days: number) => standingOf(status({ source: 'acme', acme: acme(changes) }, days), NOW);
    expect([standing({}, 4), standing({ renews_at: '2026-11-24T08:00:00Z' }, 4), standing({ order: failed }, 20), standing({ order: failed }, 61), standing({}, -1)])
      .toEqual(['on', 'urgent', 'ending', 'on', 'expired']);
  });

  test('off is a choice, so it has no colour', () => {
    expect([toneOf('off'), toneOf('on'), toneOf('trial'), toneOf('expired')]).toEqual([null, 'good', 'warn', 'bad']);
  });
});

test('failures come first, then warnings, each in the order of the server', () => {
  const check = (name: string, result: 'passed' | 'warning' | 'failed') => ({ name, result, message: '' });
  expect(failuresFirst([check('a', 'passed'), check('b', 'failed'), check('c', 'warning'), check('d', 'failed')]).map(({ name }) => name)).toEqual(['b', 'd', 'c', 'a']);
});

test('a path is whole or it is told', () => {
  expect(['', '  ', 'cert.pem', ' /etc/ssl/cert.pem '].map(pathProblem)).toEqual(['missing', 'missing', 'relative', null]);
});

test.each([
  ['CN=vm, O=ProxMenux Monitor', 'vm'],
  ['O=Example, CN=Example CA 3', 'Example CA 3'],
  ['O=Example,CN=a\\, b', 'a, b'],
  ['O=Example', 'O=Example'],
])('%s goes by %s', (subject, name) => { expect(commonName(subject)).toBe(name); });

test('the other scheme is on the same port', () => {
  const at = (url: string, scheme: 'http' | 'https') => addressUnder(scheme, new URL(url), '/pve/security');
  expect([at('http://192.0.2.10:8008/x', 'https'), at('http://[2001:db8::1]:8008/', 'https'), at('http://example.net/', 'https'), at('https://example.net/', 'http'), at('https://example.net:80/', 'http')])
    .toEqual(['https://192.0.2.10:8008/pve/security', 'https://[2001:db8::1]:8008/pve/security', 'https://example.net:80/pve/security', 'http://example.net:443/pve/security', 'http://example.net/pve/security']);
});

test('a browser warns of a signer that it does not know, and of another name', () => {
  const { cert_info: own } = status();
  const signed = own === null ? null : { ...own, is_self_signed: false, names: ['dash.example.net'] };
  const elsewhere = 'https://ca.example.net/directory';
  expect([browserDoubt('self_signed', own, 'pve-01', null), browserDoubt('custom', own, 'pve-01', null), browserDoubt('custom', signed, 'pve-01', null)]).toEqual(['signer', 'signer', null]);
  expect([browserDoubt('acme', signed, 'dash.example.net', LETS_ENCRYPT), browserDoubt('acme', signed, '192.0.2.10', LETS_ENCRYPT), browserDoubt('acme', signed, 'dash.example.net', elsewhere)]).toEqual([null, 'name', 'signer']);
});
