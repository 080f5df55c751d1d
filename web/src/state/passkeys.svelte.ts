// The account's passkeys, and whether one of them can be used at this address.

import * as api from '../api/client.ts';
import type { Passkey, PasskeyList } from '../api/types.ts';
import { hasPasskeySupport } from '../lib/passkeys.ts';
import { errorText } from './errors.ts';
import { session } from './session.svelte.ts';

class Passkeys {
  #list = $state.raw<PasskeyList | null>(null);
  problem = $state<string | null>(null);

  /** Null until they are loaded. */
  all = $derived<Passkey[] | null>(this.#list?.passkeys ?? null);
  /** Why no passkey can be used here: `address`, `not_https`, or `browser` where the browser has no part for it. */
  obstacle = $derived.by((): 'address' | 'not_https' | 'browser' | null => {
    if (this.#list === null) return null;
    if (!this.#list.available_here) return this.#list.unavailable_reason ?? 'address';
    return hasPasskeySupport() ? null : 'browser';
  });
  /** One can be used to confirm something now. */
  hasUsable = $derived(this.obstacle === null && (this.all ?? []).some((one) => one.usable_here));

  /** Asks the server for them. */
  async load(): Promise<void> {
    try {
      this.#list = await api.passkeys();
      this.problem = null;
    } catch (error) {
      this.problem = errorText(error);
    }
  }

  /** Loads them for a confirmation, if there can be any; those known already are offered at once. */
  async prepare(): Promise<void> {
    if ((session.status?.passkeys ?? 0) === 0 || !hasPasskeySupport()) return;
    await this.load();
  }
}

export const passkeys = new Passkeys();
