// Proving once more who one is: the password, and a code where the account has one; or a passkey in
// place of both. A refusal here is never a dead session.

import * as api from '../api/client.ts';
import { ApiError } from '../api/client.ts';
import type { PasskeyProof, Proof } from '../api/types.ts';
import { compactCode, isComplete } from '../lib/codes.ts';
import { countdown } from '../lib/format.ts';
import { askForPasskey } from '../lib/passkeys.ts';
import { clock } from './clock.svelte.ts';
import { errorText, passkeyFailureText, skewText } from './errors.ts';
import { locale } from './locale.svelte.ts';
import { session } from './session.svelte.ts';

/** Whether a call wants a code each time, or takes one that was given in the last ten minutes. */
export type CodeNeed = 'always' | 'unless-fresh';

export class Confirmation {
  password = $state('');
  code = $state('');
  passwordError = $state<string | null>(null);
  passkeyError = $state<string | null>(null);
  formError = $state<string | null>(null);
  /** The server may know of a second factor before this page does. */
  needsCode = $state(false);
  /** The password was right and the code alone is missing: it is sent as soon as it is whole. */
  isCodeAwaited = $state(false);
  /** A passkey has been shown; it holds for one call. */
  passkey = $state.raw<PasskeyProof | null>(null);
  isAskingPasskey = $state(false);
  #codeError = $state<string | null>(null);
  /** When the code after an already used one comes, in the server's time. */
  #nextCodeAt = $state<number | null>(null);
  #waitUntil = $state<number | null>(null);
  #abort: AbortController | null = null;

  codeError = $derived.by(() => {
    if (this.#nextCodeAt === null) return this.#codeError;
    const seconds = Math.round((this.#nextCodeAt - clock.now) / 1000);
    return seconds > 0 ? locale.t.second.usedWait(seconds) : locale.t.second.usedNow;
  });
  /** What is left of a rate limit; null where there is none. */
  waitText = $derived.by(() => {
    if (this.#waitUntil === null || this.#waitUntil <= clock.now) return null;
    return locale.t.confirm.wait(countdown((this.#waitUntil - clock.now) / 1000));
  });

  constructor(need: CodeNeed = 'always') {
    const { status } = session;
    this.needsCode = (status?.totp_enabled ?? false) && (need === 'always' || status?.second_factor_fresh !== true);
  }

  /** What is sent with the call. */
  get proof(): Proof {
    if (this.passkey !== null) return { passkey: this.passkey };
    return { password: this.password, ...(this.needsCode ? { totp_code: compactCode(this.code) } : {}) };
  }

  /** Tells whether what is needed was typed; says what is missing. */
  check(): boolean {
    this.#clear();
    if (this.passkey !== null) return true;
    if (this.password === '') this.passwordError = locale.t.password.required;
    if (this.needsCode && !isComplete(this.code)) this.#codeError = locale.t.second.incomplete;
    return this.passwordError === null && this.#codeError === null;
  }

  /** Forgets what was said of a code that is being corrected. */
  codeTyped(): void {
    this.#codeError = null;
    this.#nextCodeAt = null;
  }

  /** Asks for a passkey; true once there is one. Closing the browser's dialog says nothing. */
  async usePasskey(): Promise<boolean> {
    this.#clear();
    this.isAskingPasskey = true;
    this.#abort = new AbortController();
    try {
      const { ceremony, options } = await api.startPasskeyConfirmation();
      const outcome = await askForPasskey(options, this.#abort.signal);
      if ('credential' in outcome) this.passkey = { ceremony, credential: outcome.credential };
      else this.passkeyError = passkeyFailureText(outcome.failure);
      return this.passkey !== null;
    } catch (error) {
      this.take(error);
      return false;
    } finally {
      this.isAskingPasskey = false;
    }
  }

  /** After a call that took the proof and failed for another reason: passkey and code are spent. */
  restart(): void {
    this.passkey = null;
    this.code = '';
    this.needsCode = false;
  }

  /** Ends the browser's passkey dialog with the dialog it belongs to. */
  leave(): void {
    this.#abort?.abort();
  }

  /** Takes a refusal; returns false if it is not about the confirmation. */
  take(error: unknown): boolean {
    this.#clear();
    this.passkey = null;
    const details = error instanceof ApiError ? error.details : {};
    const { confirm, second } = locale.t;
    switch (error instanceof ApiError ? error.code : '') {
      case 'reauthentication_failed':
        if (details.field === 'totp_code') this.#codeError = skewText(details) ?? confirm.wrongCode;
        else if (details.field === 'passkey') this.passkeyError = confirm.wrongPasskey;
        else this.passwordError = confirm.wrongPassword;
        return true;
      case 'code_required':
        this.isCodeAwaited = !this.needsCode;
        if (this.needsCode) this.#codeError = second.required;
        this.needsCode = true;
        return true;
      case 'code_already_used':
        this.needsCode = true;
        if (details.retry_after === undefined) this.#codeError = second.used;
        else this.#nextCodeAt = clock.read() + details.retry_after * 1000;
        return true;
      case 'too_many_attempts':
        if (details.retry_after === undefined) this.formError = errorText(error);
        else this.#waitUntil = clock.read() + details.retry_after * 1000;
        return true;
      case 'weak_password':
        return false;
      default:
        this.formError = errorText(error);
        return true;
    }
  }

  #clear(): void {
    this.passwordError = null;
    this.passkeyError = null;
    this.formError = null;
    this.#codeError = null;
    this.#nextCodeAt = null;
  }
}
