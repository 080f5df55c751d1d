// The names that one may ask an authority for, how far an order is, which certificate waits, and what is asked again.

import { describe, expect, test } from 'vitest';
import type { Acme, AcmeOrder, CertificateInfo, TlsStatus } from '../api/types.ts';
import { authorityName, isCovered, isLetsEncrypt, isPublicName, LETS_ENCRYPT, nameProblem, splitNames, stepStates, unusedCertificate, wishAgain } from './acme.ts';

const NOW = Date.parse('2026-11-25T09:00:00Z');

function certificate(changes: Partial<CertificateInfo> = {}): CertificateInfo {
  return {
    subject: 'CN=dash.example.net', issuer: 'CN=R11', not_before: '2026-11-01T00:00:00Z', expires: '2027-01-30T00:00:00Z', days_left: 65,
    is_self_signed: false, names: ['dash.example.net'], key_kind: 'EC P-256', fingerprint_sha256: 'AA:BB', ...changes,
  };
}

function acme(changes: Partial<Acme> = {}): Acme {
  return {
    names: ['dash.example.net'], email: null, directory: LETS_ENCRYPT, challenge: 'http-01', order: null, certificate: certificate(),
    renews_at: '2026-12-31T00:00:00Z', next_try_at: null, ...changes,
  };
}

function order(changes: Partial<AcmeOrder>): AcmeOrder {
  return { state: 'running', step: null, started_at: '2026-11-25T08:59:50Z', ended_at: null, problem: null, ...changes };
}

function status(changes: Partial<TlsStatus>): TlsStatus {
  return {
    ssl_enabled: true, trial: null, source: 'acme', cert_path: null, key_path: null, proxmox_available: false, proxmox_cert: null, proxmox_key: null,
    cert_info: certificate(), serving: 'configured', problem: null, over_tls: true, hsts: false, acme: acme(), ...changes,
  };
}

describe('names', () => {
  test('are parted by commas, spaces and line ends, and stand once', () => {
    expect(splitNames(' Dash.example.net, pve.example.net.\n\ndash.example.net;')).toEqual(['dash.example.net', 'pve.example.net']);
  });

  test.each([
    ['192.0.2.10', 'address'],
    ['2001:db8::1', 'address'],
    ['*.example.net', 'wildcard'],
    ['dash_1.example.net', 'malformed'],
    ['-dash.example.net', 'malformed'],
    ['dash..example.net', 'malformed'],
    ['https://example.net', 'address'],
    [`${'a'.repeat(64)}.example.net`, 'malformed'],
    [`${'abcdefgh.'.repeat(28)}example.net`, 'malformed'],
    ['pve', 'private'],
    ['pve.local', 'private'],
    ['pve.lan', 'private'],
    ['pve.home.arpa', 'private'],
    ['pve.corp.internal', 'private'],
  ])('%s cannot be asked for: %s', (entry, fault) => {
    expect([nameProblem(['dash.example.net', entry], true), isPublicName(entry)]).toEqual([{ entry, fault }, false]);
  });

  test('of a private network are for an authority of one’s own; stars and addresses are not', () => {
    expect([nameProblem(['pve', 'pve.local'], false), nameProblem(['*.local'], false)?.fault, nameProblem(['192.0.2.10'], false)?.fault]).toEqual([null, 'wildcard', 'address']);
  });

  test.each(['dash.example.net', 'xn--bcher-kva.example.net', 'a.b.c.example.net', '3.example.net', 'DASH.example.net'])('%s is public', (name) => {
    expect(isPublicName(name)).toBe(true);
  });

  test('a star in a certificate stands for one label', () => {
    const names = ['dash.example.net', '*.example.org'];
    expect(['DASH.example.net', 'pve.example.org', 'example.org', 'a.pve.example.org', 'example.net'].map((host) => isCovered(names, host))).toEqual([true, true, false, false, false]);
  });
});

test('the authority everybody knows goes by its name, another by its host', () => {
  expect([LETS_ENCRYPT, 'https://acme-staging-v02.api.letsencrypt.org/directory', 'https://ca.example.net:9000/acme/directory', 'nothing'].map(authorityName))
    .toEqual(['Let’s Encrypt', 'acme-staging-v02.api.letsencrypt.org', 'ca.example.net:9000', 'nothing']);
  expect(isLetsEncrypt('https://acme-v02.api.letsencrypt.org.example.net/directory')).toBe(false);
});

describe('the steps of an order', () => {
  const states = (changes: Partial<AcmeOrder>): string[] => stepStates(order(changes)).map(({ state }) => state);

  test('one is on, those before it are done', () => {
    expect([states({}), states({ step: 'challenge' })]).toEqual([['current', 'waiting', 'waiting', 'waiting'], ['done', 'done', 'current', 'waiting']]);
  });

  test('a failed one says where', () => {
    expect([states({ state: 'failed', step: 'challenge' }), states({ state: 'failed' })]).toEqual([['done', 'done', 'failed', 'waiting'], ['failed', 'waiting', 'waiting', 'waiting']]);
  });

  test('at the end all are done', () => { expect(states({ state: 'done', step: 'certificate' })).toEqual(['done', 'done', 'done', 'done']); });
});

describe('a certificate that nobody uses', () => {
  test('is offered until it is served', () => {
    expect([unusedCertificate(status({}), NOW), unusedCertificate(status({ ssl_enabled: false, source: 'none', cert_info: null }), NOW), unusedCertificate(status({ source: 'self_signed' }), NOW)?.fingerprint_sha256])
      .toEqual([null, certificate(), 'AA:BB']);
  });

  test('is offered beside an older one of the same authority', () => {
    expect(unusedCertificate(status({ cert_info: certificate({ fingerprint_sha256: 'CC:DD' }) }), NOW)?.fingerprint_sha256).toBe('AA:BB');
  });

  test('is not offered once it has ended, nor where there is none', () => {
    const off = { ssl_enabled: false, source: 'none', cert_info: null } as const;
    expect([unusedCertificate(status({ ...off, acme: null }), NOW), unusedCertificate(status({ ...off, acme: acme({ certificate: null }) }), NOW), unusedCertificate(status(off), Date.parse('2027-01-30T00:00:00Z'))])
      .toEqual([null, null, null]);
  });
});

test('what was asked for last is asked again, without what was left out', () => {
  expect(wishAgain(acme())).toEqual({ names: ['dash.example.net'], directory: LETS_ENCRYPT, challenge: 'http-01', agree_terms: true });
  expect(wishAgain(acme({ email: 'owner@example.net', ca_path: '/etc/ssl/authority.pem' }))).toMatchObject({ email: 'owner@example.net', ca_path: '/etc/ssl/authority.pem' });
});
