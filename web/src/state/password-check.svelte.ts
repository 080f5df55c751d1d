// Checks a new password while one types, with the rules and the list that the server ships.

import listUrl from '../../../data/common-passwords.txt?url';
import * as api from '../api/client.ts';
import { brokenRules, parseCommonList, type Rule } from '../lib/passwords.ts';
import { session } from './session.svelte.ts';

class PasswordCheck {
  #common = $state.raw<ReadonlySet<string>>(new Set());
  #isLoading = false;

  /** Loads the list of common passwords when a form for one opens. */
  prepare(): void {
    if (this.#isLoading) return;
    this.#isLoading = true;
    void this.#load();
  }

  async #load(): Promise<void> {
    try {
      this.#common = parseCommonList(await api.pageAsset(listUrl));
    } catch {
      // Without the list the server still refuses what is on it.
      this.#isLoading = false;
    }
  }

  /** Returns the rules that a password breaks. */
  broken(password: string, username: string): Rule[] {
    const policy = session.status?.password_policy;
    if (policy === undefined) return [];
    const host = session.info?.hostname;
    return brokenRules(password, { policy, names: host === undefined ? [username] : [username, host], common: this.#common });
  }
}

export const passwordCheck = new PasswordCheck();
