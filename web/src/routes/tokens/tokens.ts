// What there is to say of an API token: its state, when to warn, what to advise, how its first call went.

import type { ApiToken, Scope } from '../../api/types.ts';

const DAY_MS = 86_400_000;
/** A token with full rights may lie unused this long before anyone is told to revoke it. */
const UNUSED_GRACE_MS = DAY_MS;

/** From the least right to the greatest; each includes the ones before it. */
export const SCOPES = ['metrics', 'read_only', 'operator', 'full_admin'] as const satisfies readonly Scope[];

export const MAX_NAME_LENGTH = 64;
export const MAX_DAYS = 365;

export type TokenState = 'active' | 'unused' | 'unverified' | 'ending' | 'replaced' | 'invalid' | 'expired' | 'revoked' | 'rotated';
export type Reminder = 1 | 7 | 30;

/** Tells whether one scope reaches as far as another. */
export function reaches(scope: Scope, wanted: Scope): boolean {
  return SCOPES.indexOf(scope) >= SCOPES.indexOf(wanted);
}

/** Returns when a token stops working: when it expires, or before that when another has taken its place. */
export function endOf(token: ApiToken): string {
  const { ends_at: replacedAt, expires_at: expiresAt } = token;
  return replacedAt !== null && Date.parse(replacedAt) < Date.parse(expiresAt) ? replacedAt : expiresAt;
}

/** Returns the days within which a token expires, of those at which to warn; null where there is time. */
export function reminderOf(token: ApiToken, now: number): Reminder | null {
  const left = Date.parse(token.expires_at) - now;
  return ([1, 7, 30] as const).find((days) => left <= days * DAY_MS) ?? null;
}

/** Returns the one state that matters most to the owner. */
export function stateOf(token: ApiToken, now: number): TokenState {
  const reason = token.invalidation_reason;
  if (reason === 'rotated') return 'rotated';
  if (token.revoked || reason === 'revoked') return 'revoked';
  if (token.ends_at !== null && Date.parse(token.ends_at) <= now) return 'rotated';
  if (reason === 'expired' || Date.parse(token.expires_at) <= now) return 'expired';
  if (reason === 'secret_changed') return 'invalid';
  if (token.ends_at !== null) return 'replaced';
  if (reminderOf(token, now) !== null) return 'ending';
  if (token.last_used_at !== null) return 'active';
  return token.valid === null ? 'unverified' : 'unused';
}

/** Tells whether a token is history: its owner ended it. */
export function isPast(state: TokenState): boolean {
  return state === 'revoked' || state === 'rotated';
}

/** Tells whether a token is accepted, as far as anyone knows. */
export function isLive(state: TokenState): boolean {
  return !isPast(state) && state !== 'expired' && state !== 'invalid';
}

/** Tells whether the last thing that happened to a token was a refusal. */
export function isRefusedLast(token: ApiToken): boolean {
  if (token.last_refused_at === null) return false;
  return token.last_used_at === null || Date.parse(token.last_refused_at) >= Date.parse(token.last_used_at);
}

export type FirstCall =
  | { kind: 'waiting' }
  | { kind: 'received' | 'refused'; at: string; from: string; reason: string };

/** Reads how the calls made with a new token went; the newest one counts. */
export function firstCallOf(token: ApiToken | undefined): FirstCall {
  if (token === undefined) return { kind: 'waiting' };
  if (token.last_refused_at !== null && isRefusedLast(token)) {
    return { kind: 'refused', at: token.last_refused_at, from: token.last_refused_from ?? '', reason: token.last_refused_reason ?? '' };
  }
  if (token.last_used_at === null) return { kind: 'waiting' };
  return { kind: 'received', at: token.last_used_at, from: token.last_used_from ?? '', reason: '' };
}

export interface Advice {
  kind: 'ending' | 'invalid' | 'unused';
  /** The soonest end first. */
  tokens: ApiToken[];
}

/** Returns what to suggest, the most urgent first: at most one line of each kind. */
export function adviceFor(tokens: ApiToken[], now: number): Advice[] {
  const inState = (wanted: TokenState): ApiToken[] => tokens.filter((token) => stateOf(token, now) === wanted);
  const ending = inState('ending').toSorted((a, b) => a.expires_at.localeCompare(b.expires_at));
  const unused = tokens.filter((token) =>
    token.scope === 'full_admin' && token.last_used_at === null && isLive(stateOf(token, now)) && now - Date.parse(token.created_at) >= UNUSED_GRACE_MS);
  const soonest = ending[0] === undefined ? null : reminderOf(ending[0], now);
  const reminder: Advice = { kind: 'ending', tokens: ending };
  const others: Advice[] = [{ kind: 'invalid', tokens: inState('invalid') }, { kind: 'unused', tokens: unused.filter((token) => !ending.includes(token)) }];
  const ordered = soonest === 30 ? [...others, reminder] : [reminder, ...others];
  return ordered.filter((advice) => advice.tokens.length > 0);
}

/** Returns what is wrong with a name, or null. */
export function nameProblem(name: string): 'missing' | 'long' | 'control' | null {
  if (name.trim() === '') return 'missing';
  if (/\p{Cc}/u.test(name)) return 'control';
  return [...name.trim()].length > MAX_NAME_LENGTH ? 'long' : null;
}

/** Reads a number of days; null where it is not one from 1 to 365. */
export function readDays(typed: string): number | null {
  const text = typed.trim();
  const days = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  return days >= 1 && days <= MAX_DAYS ? days : null;
}
