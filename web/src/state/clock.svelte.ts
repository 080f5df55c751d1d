// The time as the server has it, for relative times and countdowns.

class Clock {
  #offset = 0;
  /** The server's time in milliseconds, renewed once a second. */
  now = $state(Date.now());

  /** Starts ticking. */
  start(): void {
    setInterval(() => { this.#tick(); }, 1000);
  }

  /** Takes the server's word for the time. */
  set(serverTime: string): void {
    const time = Date.parse(serverTime);
    if (Number.isNaN(time)) return;
    this.#offset = time - Date.now();
    this.#tick();
  }

  /** Returns the server's time at this very moment. */
  read(): number {
    return Date.now() + this.#offset;
  }

  #tick(): void {
    this.now = this.read();
  }
}

export const clock = new Clock();
