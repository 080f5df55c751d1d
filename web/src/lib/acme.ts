// Certificates by ACME: the names one may ask for, how far an order is, and what a browser will make of it.

import type { Acme, AcmeOrder, AcmeStep, AcmeWish, CertificateInfo, TlsStatus } from '../api/types.ts';

export const LETS_ENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory';
export const STEPS: readonly AcmeStep[] = ['account', 'order', 'challenge', 'certificate'];

/** Endings that no public authority signs (RFC 2606, RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476, and what ICANN keeps free). */
const PRIVATE_ENDINGS = new Set(['alt', 'arpa', 'corp', 'example', 'home', 'internal', 'intranet', 'invalid', 'lan', 'local', 'localdomain', 'localhost', 'mail', 'onion', 'private', 'test']);
const LABEL = /^(?!-)[a-z\d-]{1,63}(?<!-)$/;
const LONGEST_NAME = 253;

/** Splits a text at commas, spaces and line ends; a name stands once, in small letters and without its last dot. */
export function splitNames(typed: string): string[] {
  const entries = typed.split(/[\s,;]+/).map((entry) => entry.toLowerCase().replace(/\.$/, ''));
  return [...new Set(entries)].filter((entry) => entry !== '');
}

export type NameFault = 'address' | 'wildcard' | 'malformed' | 'private';

/** Returns the first name that cannot be asked for, and why; an authority of one's own may sign private ones too. */
export function nameProblem(names: string[], isPublicAuthority: boolean): { entry: string; fault: NameFault } | null {
  for (const entry of names) {
    const fault = faultOf(entry);
    if (fault !== null && (fault !== 'private' || isPublicAuthority)) return { entry, fault };
  }
  return null;
}

/** Tells whether a public authority could know a host by this name. */
export function isPublicName(name: string): boolean {
  return faultOf(name.toLowerCase()) === null;
}

function faultOf(name: string): NameFault | null {
  if (name.includes(':') || /^[\d.]+$/.test(name)) return 'address';
  if (name.includes('*')) return 'wildcard';
  const labels = name.split('.');
  if (name.length > LONGEST_NAME || !labels.every((label) => LABEL.test(label))) return 'malformed';
  return labels.length < 2 || PRIVATE_ENDINGS.has(labels.at(-1) ?? '') ? 'private' : null;
}

/** Tells whether an address is that of Let's Encrypt; its other one, for trying things out, is known to no browser. */
export function isLetsEncrypt(directory: string): boolean {
  return URL.canParse(directory) && new URL(directory).host === new URL(LETS_ENCRYPT).host;
}

/** Returns the name of an authority: its host, or the one everybody knows. */
export function authorityName(directory: string): string {
  if (isLetsEncrypt(directory)) return 'Let’s Encrypt';
  return URL.canParse(directory) ? new URL(directory).host : directory;
}

export type StepState = 'done' | 'current' | 'failed' | 'waiting';

/** Returns how far each step of an order is; the first is on while the host has named none. */
export function stepStates(order: AcmeOrder): { step: AcmeStep; state: StepState }[] {
  const at = order.state === 'done' ? STEPS.length : Math.max(0, order.step === null ? 0 : STEPS.indexOf(order.step));
  return STEPS.map((step, index) => ({
    step,
    state: index < at ? 'done' : index > at ? 'waiting' : order.state === 'failed' ? 'failed' : 'current',
  }));
}

/** Returns a certificate that was obtained, can be used now and is not what is served. */
export function unusedCertificate(status: TlsStatus, now: number): CertificateInfo | null {
  const info = status.acme?.certificate ?? null;
  if (info === null || Date.parse(info.expires) <= now) return null;
  const isServed = status.ssl_enabled && status.source === 'acme' && status.cert_info?.fingerprint_sha256 === info.fingerprint_sha256;
  return isServed ? null : info;
}

/** Returns what asks once more for what was asked for last; its terms were agreed to then. */
export function wishAgain({ names, email, directory, challenge, ca_path: caPath }: Acme): AcmeWish {
  return { names, ...(email === null ? {} : { email }), directory, challenge, ...(caPath ? { ca_path: caPath } : {}), agree_terms: true };
}

/** Tells whether a host name is one of a certificate's; a star stands for one label (RFC 6125 §6.4.3). */
export function isCovered(names: string[], hostname: string): boolean {
  const host = hostname.toLowerCase();
  return names.some((name) => name.toLowerCase() === host || (name.startsWith('*.') && host.replace(/^[^.]+/, '*') === name.toLowerCase()));
}
