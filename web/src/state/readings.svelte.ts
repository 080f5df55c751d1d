// The host's figures, asked for as often as the shown page needs them and only while it is seen.

import * as api from '../api/client.ts';
import type { History, Snapshot } from '../api/types.ts';
import { session } from './session.svelte.ts';

const HISTORY_EVERY_MS = 60_000;

class Readings {
  snapshot = $state.raw<Snapshot | null>(null);
  history = $state.raw<History | null>(null);
  hasFailed = $state(false);
  #historyAt = 0;

  /** Keeps the figures fresh until the returned function is called. */
  watch(everyMs: number, withHistory: boolean): () => void {
    let isWatching = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async (): Promise<void> => {
      if (!document.hidden) await this.#load(withHistory);
      if (isWatching) timer = setTimeout(() => { void look(); }, everyMs);
    };
    const seen = (): void => {
      if (document.hidden) return;
      clearTimeout(timer);
      void look();
    };
    document.addEventListener('visibilitychange', seen);
    void look();
    return () => {
      isWatching = false;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }

  async #load(withHistory: boolean): Promise<void> {
    if (session.phase !== 'inside' && session.phase !== 'open') return;
    try {
      this.snapshot = await api.system();
      if (withHistory && Date.now() - this.#historyAt >= HISTORY_EVERY_MS) {
        this.history = await api.history();
        this.#historyAt = Date.now();
      }
      this.hasFailed = false;
    } catch {
      this.hasFailed = true;
    }
  }
}

export const readings = new Readings();
