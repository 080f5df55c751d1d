// Backup codes that have just been made, for the recovery kit. They are kept here in memory alone,
// and forgotten as soon as Security and the kit are left.

import type { PageName } from '../lib/paths.ts';

const KEPT_MS = 10 * 60_000;

class Kit {
  codes = $state.raw<string[] | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Keeps codes that are in force from now on. */
  hold(codes: string[]): void {
    clearTimeout(this.#timer);
    this.codes = codes;
    this.#timer = setTimeout(() => { this.forget(); }, KEPT_MS);
  }

  /** Follows the reader from page to page: forgets them where neither Security nor the kit is shown. */
  follow(page: PageName): void {
    if (page !== 'security' && page !== 'kit') this.forget();
  }

  /** Forgets them. */
  forget(): void {
    clearTimeout(this.#timer);
    this.codes = null;
  }
}

export const kit = new Kit();
