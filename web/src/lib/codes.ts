// Second-step codes: six digits of an authenticator app, or a backup code `XXXX-XXXX`.

const STEP_SECONDS = 30;

/** Removes what people put between the characters of a code. */
export function compactCode(typed: string): string {
  return typed.replace(/[\s\-–—.]/g, '').toUpperCase();
}

/** Tells whether a code is whole, so that it can be sent. */
export function isComplete(typed: string): boolean {
  const code = compactCode(typed);
  return /^\d{6}$/.test(code) || /^[A-Z0-9]{8}$/.test(code);
}

/** Tells whether a code is one of an authenticator app: six digits. */
export function isAppCode(typed: string): boolean {
  return /^\d{6}$/.test(compactCode(typed));
}

/** Puts a secret into groups of four. */
export function grouped(secret: string): string[] {
  return secret.match(/.{1,4}/g) ?? [];
}

/**
 * Tells whether a code may be sent without a button. A backup code can begin with six digits, so
 * six of them with a separator after the fourth are taken for its beginning.
 */
export function isSentByItself(typed: string): boolean {
  if (!isComplete(typed)) return false;
  return compactCode(typed).length !== 6 || !/^\s*\d{4}[\s\-–—]\d/.test(typed);
}

/** Returns the seconds for which the current code of an authenticator app still holds. */
export function secondsLeftOnCode(nowMs: number): number {
  return STEP_SECONDS - (Math.floor(nowMs / 1000) % STEP_SECONDS);
}

/** Puts a claim code into its three groups of four letters. */
export function formatClaimCode(typed: string): string {
  const letters = typed.toUpperCase().replace(/[^A-Z0-9]/g, '').slice(0, 12);
  return letters.match(/.{1,4}/g)?.join('-') ?? '';
}

/** Tells whether a claim code has its twelve letters. */
export function isClaimCode(typed: string): boolean {
  return typed.replace(/[^a-z0-9]/gi, '').length === 12;
}
