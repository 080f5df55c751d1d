// WebAuthn between the server's JSON and the browser. Newer browsers translate themselves; the
// others get it done here (Web Authentication Level 3 §5.1.8 to §5.1.10).

/** What a browser's passkey dialog ended with. */
export type PasskeyOutcome = { credential: object } | { failure: PasskeyFailure };
export type PasskeyFailure = 'cancelled' | 'exists' | 'untrusted' | 'failed';

interface PublicKeyOptions { publicKey: Record<string, unknown> }

/** Tells whether passkeys can be used at an address: HTTPS with a host name, or localhost. */
export function isPasskeyPlace({ protocol, hostname }: { protocol: string; hostname: string }): boolean {
  if (hostname === 'localhost') return true;
  const isAddress = hostname.startsWith('[') || /^[\d.]+$/.test(hostname);
  return protocol === 'https:' && !isAddress && hostname !== '';
}

/** Tells whether this browser can use passkeys at the page's own address. */
export function hasPasskeySupport(): boolean {
  return 'PublicKeyCredential' in window && 'credentials' in navigator && isPasskeyPlace(location);
}

/** Asks for a passkey that is there. */
export async function askForPasskey(options: unknown, signal: AbortSignal): Promise<PasskeyOutcome> {
  return outcome(async () => navigator.credentials.get({ publicKey: requestOptions(options), signal }));
}

/** Has a new passkey made. */
export async function makePasskey(options: unknown, signal: AbortSignal): Promise<PasskeyOutcome> {
  return outcome(async () => navigator.credentials.create({ publicKey: creationOptions(options), signal }));
}

async function outcome(ask: () => Promise<Credential | null>): Promise<PasskeyOutcome> {
  try {
    const credential = await ask();
    return credential instanceof PublicKeyCredential ? { credential: credentialJson(credential) } : { failure: 'failed' };
  } catch (error) {
    return { failure: failureOf(error) };
  }
}

/** Reads why a passkey dialog ended without a passkey. */
export function failureOf(error: unknown): PasskeyFailure {
  if (!(error instanceof Error)) return 'failed';
  if (error.name === 'AbortError') return 'cancelled';
  if (error.name === 'InvalidStateError') return 'exists';
  // Browsers also refuse with this name where the certificate is not trusted, and say so.
  if (error.name === 'NotAllowedError') return /certificate/i.test(error.message) ? 'untrusted' : 'cancelled';
  return 'failed';
}

function publicKeyOf(options: unknown): Record<string, unknown> {
  return (options as PublicKeyOptions).publicKey;
}

/** Reads the options for a passkey that is there. */
export function requestOptions(options: unknown): PublicKeyCredentialRequestOptions {
  const json = publicKeyOf(options);
  if (typeof PublicKeyCredential !== 'undefined' && 'parseRequestOptionsFromJSON' in PublicKeyCredential) {
    return PublicKeyCredential.parseRequestOptionsFromJSON(json as unknown as PublicKeyCredentialRequestOptionsJSON);
  }
  return { ...json, challenge: decode(json['challenge']), allowCredentials: descriptors(json['allowCredentials']) };
}

/** Reads the options for a new passkey. */
export function creationOptions(options: unknown): PublicKeyCredentialCreationOptions {
  const json = publicKeyOf(options);
  if (typeof PublicKeyCredential !== 'undefined' && 'parseCreationOptionsFromJSON' in PublicKeyCredential) {
    return PublicKeyCredential.parseCreationOptionsFromJSON(json as unknown as PublicKeyCredentialCreationOptionsJSON);
  }
  const user = json['user'] as PublicKeyCredentialUserEntityJSON;
  return {
    ...(json as unknown as PublicKeyCredentialCreationOptions),
    challenge: decode(json['challenge']),
    user: { ...user, id: decode(user.id) },
    excludeCredentials: descriptors(json['excludeCredentials']),
  };
}

function descriptors(list: unknown): PublicKeyCredentialDescriptor[] {
  if (!Array.isArray(list)) return [];
  return list.map((one: PublicKeyCredentialDescriptorJSON) => ({ ...one, id: decode(one.id) }) as PublicKeyCredentialDescriptor);
}

/** Writes a credential as the server reads it. */
export function credentialJson(credential: PublicKeyCredential): object {
  // Some password managers put a credential of their own in, without this method.
  if (typeof credential.toJSON === 'function') return credential.toJSON();
  const { id, rawId, type, authenticatorAttachment } = credential;
  return {
    id, rawId: encode(rawId), type, authenticatorAttachment,
    response: responseJson(credential.response),
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

function responseJson(response: AuthenticatorResponse): object {
  const clientDataJSON = encode(response.clientDataJSON);
  if ('attestationObject' in response) {
    const made = response as AuthenticatorAttestationResponse;
    return { clientDataJSON, attestationObject: encode(made.attestationObject), transports: made.getTransports?.() ?? [] };
  }
  const { authenticatorData, signature, userHandle } = response as AuthenticatorAssertionResponse;
  return {
    clientDataJSON, authenticatorData: encode(authenticatorData), signature: encode(signature),
    ...(userHandle === null ? {} : { userHandle: encode(userHandle) }),
  };
}

/** Decodes base64url without padding (RFC 4648 §5). */
export function decode(text: unknown): ArrayBuffer {
  const base64 = String(text).replaceAll('-', '+').replaceAll('_', '/');
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
}

/** Encodes base64url without padding (RFC 4648 §5). */
export function encode(bytes: ArrayBuffer): string {
  const letters = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join('');
  return btoa(letters).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}
