// The idle limit: a warning two minutes before, then sign-out. The server has the limit and the
// last word; it is told which calls the page makes by itself.

import { noteActivity } from '../api/client.ts';
import { session } from './session.svelte.ts';
import { hearTabs, tellTabs } from './tabs.ts';

const WARNING_MS = 120_000;
const TELL_EVERY_MS = 10_000;

class Idle {
  /** Seconds until sign-out, while the warning is due. */
  secondsLeft = $state<number | null>(null);
  #last = Date.now();
  #told = 0;

  /** Watches for activity, here and in other tabs. */
  start(): void {
    for (const kind of ['pointerdown', 'keydown', 'wheel', 'touchstart']) {
      window.addEventListener(kind, () => { this.stay(); }, { passive: true });
    }
    hearTabs((message) => { if (message !== 'active') return;
      this.#last = Date.now();
      noteActivity();
    });
    setInterval(() => { this.#check(); }, 1000);
  }

  /** Counts as activity. */
  stay(): void {
    this.#last = Date.now();
    noteActivity();
    this.secondsLeft = null;
    if (this.#last - this.#told < TELL_EVERY_MS) return;
    this.#told = this.#last;
    tellTabs('active');
  }

  #check(): void {
    const minutes = session.idleMinutes;
    if (minutes === 0 || session.phase !== 'inside') {
      this.secondsLeft = null;
      return;
    }
    const leftMs = this.#last + minutes * 60_000 - Date.now();
    this.secondsLeft = leftMs <= Math.min(WARNING_MS, minutes * 30_000) ? Math.max(0, Math.ceil(leftMs / 1000)) : null;
    if (leftMs > 0) return;
    this.stay();
    void session.endIdle();
  }
}

export const idle = new Idle();
