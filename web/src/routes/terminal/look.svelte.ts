// How the terminal looks in this browser: its type size, and whether it is read aloud.

import { recall, remember } from '../../state/storage.ts';

const KEY = 'monitor-terminal';
export const SIZES = [11, 12, 13, 14, 16, 18, 20, 24] as const;
const USUAL = 13;

interface Kept { size: number; reader: boolean }

function read(word: string | null): Kept {
  const [size, reader] = (word ?? '').split(' ');
  const known = SIZES.find((one) => String(one) === size);
  return { size: known ?? USUAL, reader: reader === 'reader' };
}

class Look {
  #kept = $state.raw(read(recall(KEY)));

  get size(): number { return this.#kept.size; }
  get isRead(): boolean { return this.#kept.reader; }
  get isSmallest(): boolean { return this.size === SIZES[0]; }
  get isLargest(): boolean { return this.size === SIZES.at(-1); }

  /** Takes the next size up or down. */
  resize(steps: 1 | -1): void {
    const size = SIZES[SIZES.findIndex((one) => one === this.size) + steps];
    if (size !== undefined) this.#keep({ ...this.#kept, size });
  }

  /** Switches the reading for screen readers. */
  toggleReader(): void {
    this.#keep({ ...this.#kept, reader: !this.isRead });
  }

  #keep(kept: Kept): void {
    this.#kept = kept;
    remember(KEY, `${kept.size}${kept.reader ? ' reader' : ''}`);
  }
}

export const look = new Look();
