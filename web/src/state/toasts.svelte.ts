// What the person just did, said once and briefly.

const SHOWN_MS = 6000;

class Toasts {
  message = $state<string | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Says a sentence for six seconds. */
  say(message: string): void {
    this.message = message;
    this.release();
  }

  /** Keeps the sentence while the pointer or the focus is on it. */
  hold(): void {
    clearTimeout(this.#timer);
  }

  /** Lets the time run again. */
  release(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.dismiss(); }, SHOWN_MS);
  }

  /** Takes it away. */
  dismiss(): void {
    clearTimeout(this.#timer);
    this.message = null;
  }
}

export const toasts = new Toasts();
