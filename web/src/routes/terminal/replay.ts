// While a shell's kept output comes once more, the questions in it have been answered long ago: what the
// screen answers to them must not be typed. The end of it is not marked; a pause is taken for it.

const PAUSE_MS = 250;
const LONGEST_MS = 5000;

export class Replay {
  #until = 0;
  #last = 0;

  /** Begins with the connection. */
  start(): void {
    this.#last = Date.now();
    this.#until = this.#last + LONGEST_MS;
  }

  /** Output came. */
  heard(): void {
    if (this.isOn) this.#last = Date.now();
  }

  /** Someone is there and types: from now on everything counts. */
  stop(): void {
    this.#until = 0;
  }

  get isOn(): boolean {
    const now = Date.now();
    return now < this.#until && now - this.#last < PAUSE_MS;
  }
}
