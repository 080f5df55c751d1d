// The API tokens as the Security page has them, and which of their dialogs is open.

import * as api from '../../api/client.ts';
import type { ApiToken, MadeApiToken } from '../../api/types.ts';
import { clock } from '../../state/clock.svelte.ts';
import { errorText } from '../../state/errors.ts';
import { session } from '../../state/session.svelte.ts';
import { adviceFor, isLive, stateOf } from './tokens.ts';

/** A token that was just made, until its dialog is closed: then nobody has it but its owner. */
export interface FreshToken {
  made: MadeApiToken;
  networks: string[];
  /** What became of the one in whose place it was made. */
  note: { text: string; tone: 'good' | 'bad' } | null;
}

export type TokenDialog =
  | { kind: 'new'; from: ApiToken | null }
  | { kind: 'rotate' | 'revoke'; token: ApiToken }
  | { kind: 'made'; fresh: FreshToken };

export class TokenList {
  /** Null until they are loaded; the newest first. */
  all = $state.raw<ApiToken[] | null>(null);
  problem = $state<string | null>(null);
  dialog = $state.raw<TokenDialog | null>(null);

  /** How many are accepted now. */
  live = $derived((this.all ?? []).filter((token) => isLive(stateOf(token, clock.now))).length);
  advice = $derived(adviceFor(this.all ?? [], clock.now));
  #asked = 0;

  /** Asks the server for them. */
  async load(): Promise<void> {
    if (session.phase !== 'inside') return;
    this.#asked += 1;
    const turn = this.#asked;
    try {
      const tokens = await api.apiTokens();
      // An older answer may come after a newer one.
      if (turn < this.#asked && this.all !== null) return;
      // The server's order tells which of two made in one second is the newer.
      this.all = tokens.toReversed().toSorted((a, b) => b.created_at.localeCompare(a.created_at));
      this.problem = null;
    } catch (error) {
      this.problem = errorText(error);
    }
  }

  /** Finds one by its id. */
  find(id: string): ApiToken | undefined {
    return this.all?.find((token) => token.id === id);
  }
}
