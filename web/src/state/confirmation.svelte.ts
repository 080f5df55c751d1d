// Proving once more who one is: the current password, and a code where the account has one.
// A refusal here is never a dead session.

import { ApiError } from '../api/client.ts';
import { isComplete } from '../lib/codes.ts';
import { errorText, skewText } from './errors.ts';
import { locale } from './locale.svelte.ts';
import { session } from './session.svelte.ts';

export class Confirmation {
  password = $state('');
  code = $state('');
  passwordError = $state<string | null>(null);
  codeError = $state<string | null>(null);
  formError = $state<string | null>(null);
  /** The server may know of a second factor before this page does. */
  needsCode = $state(session.status?.totp_enabled ?? false);

  /** Tells whether what is needed was typed; says what is missing. */
  check(): boolean {
    this.clear();
    if (this.password === '') this.passwordError = locale.t.password.required;
    if (this.needsCode && !isComplete(this.code)) this.codeError = locale.t.second.incomplete;
    return this.passwordError === null && this.codeError === null;
  }

  /** Takes a refusal; returns false if it is not about password or code. */
  take(error: unknown): boolean {
    this.clear();
    const details = error instanceof ApiError ? error.details : {};
    const { confirm, second } = locale.t;
    switch (error instanceof ApiError ? error.code : '') {
      case 'reauthentication_failed':
        if (details.field === 'totp_code') this.codeError = skewText(details) ?? confirm.wrongCode;
        else this.passwordError = confirm.wrongPassword;
        return true;
      case 'code_required':
        this.needsCode = true;
        this.codeError = second.required;
        return true;
      case 'code_already_used':
        this.codeError = details.retry_after === undefined ? second.used : second.usedWait(details.retry_after);
        return true;
      case 'weak_password':
        return false;
      default:
        this.formError = errorText(error);
        return true;
    }
  }

  private clear(): void {
    this.passwordError = null;
    this.codeError = null;
    this.formError = null;
  }
}
