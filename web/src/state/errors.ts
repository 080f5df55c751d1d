// The sentence for a refusal: by its code, in the reader's language.

import { ApiError } from '../api/client.ts';
import type { Refusal } from '../api/types.ts';
import { clock as clockTime, duration } from '../lib/format.ts';
import type { PasskeyFailure } from '../lib/passkeys.ts';
import { lookUp } from '../lib/table.ts';
import { clock } from './clock.svelte.ts';
import { locale } from './locale.svelte.ts';

/** Returns the code of a refusal; any other fault counts as the server's silence. */
export function codeOf(error: unknown): string {
  return error instanceof ApiError ? error.code : 'unreachable';
}

/** Tells by how much phone and host differ; null where the server did not say. */
export function skewText({ clock_skew_seconds: seconds, server_time: serverTime }: Refusal): string | null {
  if (seconds === undefined) return null;
  const now = serverTime === undefined ? clock.read() : Date.parse(serverTime);
  const { second, unit } = locale.t;
  return second.skew(duration(Math.abs(seconds), unit), seconds > 0, clockTime(now, now, locale.language));
}

/** Returns the sentence for a refusal; an unknown code shows the server's own message. */
export function errorText(error: unknown): string {
  const { errors, limited } = locale.t;
  if (!(error instanceof ApiError)) return errors.unreachable;
  const wait = error.details.retry_after;
  if (error.code === 'too_many_attempts' && wait !== undefined) {
    const now = clock.read();
    return limited.tryAfter(clockTime(now + wait * 1000, now, locale.language));
  }
  return lookUp(errors, error.code) ?? error.details.message ?? errors.internal;
}

/** Returns the sentence for a passkey dialog that failed; null where the person closed it. */
export function passkeyFailureText(failure: PasskeyFailure): string | null {
  return lookUp<string>(locale.t.passkeyFailures, failure) ?? null;
}
