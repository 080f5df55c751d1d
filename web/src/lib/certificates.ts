// How it stands with HTTPS, in one word, and what is said of a certificate.

import type { CertificateInfo, TlsCheck, TlsSource, TlsStatus } from '../api/types.ts';
import { isCovered, isLetsEncrypt } from './acme.ts';
type Tone = 'good' | 'warn' | 'bad';

/** Days before its end from which on a certificate is warned of: first, urgently, at the last. */
export const WARN_DAYS = 30;
const URGENT_DAYS = 7;
const LAST_DAYS = 1;
const DAY_MS = 86_400_000;

export type Standing = 'off' | 'trial' | 'emergency' | 'last_good' | 'expired' | 'last_day' | 'urgent' | 'ending' | 'on';

/** Returns the one word for it; what needs somebody comes before what only nears its end. */
export function standingOf(status: TlsStatus, now: number): Standing {
  if (status.trial !== null) return 'trial';
  if (!status.ssl_enabled) return 'off';
  if (status.serving === 'emergency' || status.serving === 'last_good') return status.serving;
  const info = status.cert_info;
  if (info === null) return 'on';
  if (Date.parse(info.expires) <= now) return 'expired';
  if (isCaredFor(status, now)) return 'on';
  if (info.days_left <= LAST_DAYS) return 'last_day';
  if (info.days_left <= URGENT_DAYS) return 'urgent';
  return info.days_left <= WARN_DAYS ? 'ending' : 'on';
}

/** A certificate that is renewed by itself needs nobody, however short it lasts, unless its renewal fails or is late. */
function isCaredFor({ source, acme }: TlsStatus, now: number): boolean {
  if (source !== 'acme' || acme === null || acme.renews_at === null || acme.order?.state === 'failed') return false;
  return now < Date.parse(acme.renews_at) + DAY_MS;
}

/** Returns its colour; a choice, such as off, has none. */
export function toneOf(standing: Standing): Tone | null {
  switch (standing) {
    case 'off': return null;
    case 'on': return 'good';
    case 'trial':
    case 'ending':
    case 'last_good': return 'warn';
    case 'urgent':
    case 'last_day':
    case 'expired':
    case 'emergency': return 'bad';
  }
}

/** Returns the common name of a distinguished name, as RFC 4514 writes it; all of it where there is none. */
export function commonName(subject: string): string {
  return /(?:^|,\s*)CN=((?:\\.|[^,+])+)/.exec(subject)?.[1]?.replace(/\\(.)/g, '$1') ?? subject;
}

const ORDER: Record<TlsCheck['result'], number> = { failed: 0, warning: 1, passed: 2 };

/** Puts failures first, then warnings; within each the server's order holds. */
export function failuresFirst(checks: TlsCheck[]): TlsCheck[] {
  return checks.toSorted((a, b) => ORDER[a.result] - ORDER[b.result]);
}

/** Tells what is wrong with a path that was typed; null where nothing is. */
export function pathProblem(path: string): 'missing' | 'relative' | null {
  if (path.trim() === '') return 'missing';
  return path.trim().startsWith('/') ? null : 'relative';
}

/** Tells why a browser may warn of a certificate that is on trial: it knows no such signer, or the name is another. */
export function browserDoubt(source: TlsSource, info: CertificateInfo | null, hostname: string, directory: string | null): 'signer' | 'name' | null {
  if (source === 'custom') return info?.is_self_signed === true ? 'signer' : null;
  if (source !== 'acme' || directory === null || !isLetsEncrypt(directory)) return 'signer';
  return info === null || isCovered(info.names, hostname) ? null : 'name';
}
