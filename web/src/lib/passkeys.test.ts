// What goes between the server's JSON and the browser, where the browser does not translate itself.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { creationOptions, credentialJson, decode, encode, failureOf, isPasskeyPlace, requestOptions } from './passkeys.ts';

const bytes = (...values: number[]): ArrayBuffer => Uint8Array.from(values).buffer;
const named = (name: string, message = ''): Error => Object.assign(new Error(message), { name });

afterEach(() => { vi.unstubAllGlobals(); });

describe('base64url', () => {
  test.each([
    [bytes(), ''],
    [bytes(0), 'AA'],
    [bytes(251, 255, 191), '-_-_'],
    [bytes(1, 2, 3, 4), 'AQIDBA'],
  ])('%#', (raw, text) => {
    expect(encode(raw)).toBe(text);
    expect(new Uint8Array(decode(text))).toEqual(new Uint8Array(raw));
  });
});

test.each([
  ['https:', 'pve-01.example.net', true],
  ['https:', '192.0.2.10', false],
  ['https:', '[2001:db8::1]', false],
  ['http:', 'pve-01.example.net', false],
  ['http:', 'localhost', true],
  ['http:', '127.0.0.1', false],
  ['https:', '10.example.net', true],
])('%s//%s is a place for passkeys: %s', (protocol, hostname, wanted) => { expect(isPasskeyPlace({ protocol, hostname })).toBe(wanted); });

test.each([
  [named('NotAllowedError', 'The operation either timed out or was not allowed.'), 'cancelled'],
  [named('NotAllowedError', 'WebAuthn is not supported on sites with TLS certificate errors.'), 'untrusted'],
  [named('AbortError'), 'cancelled'],
  [named('InvalidStateError'), 'exists'],
  [named('SecurityError'), 'failed'],
  ['no error at all', 'failed'],
])('%s is %s', (error, wanted) => { expect(failureOf(error)).toBe(wanted); });

describe('without the browser’s own translation', () => {
  test('the options get their bytes, and keep the rest', () => {
    const options = creationOptions({ publicKey: {
      challenge: 'AQID', rp: { id: 'pve.example.net', name: 'x' }, user: { id: 'BAU', name: 'owner', displayName: 'Owner' },
      pubKeyCredParams: [{ type: 'public-key', alg: -7 }], excludeCredentials: [{ type: 'public-key', id: 'Bgc', transports: ['usb'] }], timeout: 60_000,
    } });
    expect(new Uint8Array(options.challenge as ArrayBuffer)).toEqual(Uint8Array.of(1, 2, 3));
    expect(new Uint8Array(options.user.id as ArrayBuffer)).toEqual(Uint8Array.of(4, 5));
    expect(options.user.name).toBe('owner');
    expect(new Uint8Array(options.excludeCredentials?.[0]?.id as ArrayBuffer)).toEqual(Uint8Array.of(6, 7));
    expect(options.excludeCredentials?.[0]?.transports).toEqual(['usb']);
    expect(options.timeout).toBe(60_000);

    const request = requestOptions({ publicKey: { challenge: 'AQID', rpId: 'pve.example.net', userVerification: 'required' } });
    expect([new Uint8Array(request.challenge as ArrayBuffer), request.rpId, request.userVerification, request.allowCredentials]).toEqual([Uint8Array.of(1, 2, 3), 'pve.example.net', 'required', []]);
  });

  test('a credential is written as the server reads it', () => {
    const credential = {
      id: 'AQ', rawId: bytes(1), type: 'public-key', authenticatorAttachment: 'platform', getClientExtensionResults: () => ({}),
      response: { clientDataJSON: bytes(2), authenticatorData: bytes(3), signature: bytes(4), userHandle: bytes(5) },
    } as unknown as PublicKeyCredential;
    expect(credentialJson(credential)).toEqual({
      id: 'AQ', rawId: 'AQ', type: 'public-key', authenticatorAttachment: 'platform', clientExtensionResults: {},
      response: { clientDataJSON: 'Ag', authenticatorData: 'Aw', signature: 'BA', userHandle: 'BQ' },
    });
    const made = { ...credential, getClientExtensionResults: () => ({}), response: { clientDataJSON: bytes(2), attestationObject: bytes(9), getTransports: () => ['internal'] } } as unknown as PublicKeyCredential;
    expect(credentialJson(made)).toMatchObject({ response: { clientDataJSON: 'Ag', attestationObject: 'CQ', transports: ['internal'] } });
  });
});

test('a browser that translates itself is let do it', () => {
  const parseRequestOptionsFromJSON = vi.fn(() => ({ challenge: bytes(7) }));
  vi.stubGlobal('PublicKeyCredential', { parseRequestOptionsFromJSON });
  expect(requestOptions({ publicKey: { challenge: 'AQID' } })).toEqual({ challenge: bytes(7) });
  expect(parseRequestOptionsFromJSON).toHaveBeenCalledWith({ challenge: 'AQID' });
  const own = { type: 'public-key', response: {}, toJSON: () => ({ id: 'own' }) } as unknown as PublicKeyCredential;
  expect(credentialJson(own)).toEqual({ id: 'own' });
});
