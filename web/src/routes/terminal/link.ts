// The way to one shell: a ticket, a socket, what is typed and shown, and after a broken way quiet tries
// to come back to the same shell for as long as the server keeps it.

import { ApiError } from '../../api/client.ts';
import type { Proof, TerminalTicket } from '../../api/types.ts';
import { ACK_EVERY_BYTES, ackFrame, CLOSED_ON_PURPOSE, COMING_BACK, endingOf, KEPT_MS, pauseMs, PIECE_BYTES, PING, PING_EVERY_MS, PONG, PONG_WITHIN_MS, resizeFrame, type Ending, type Size } from './wire.ts';

/** As much of the browser’s socket as is needed. */
export interface Socket {
  readonly readyState: number;
  addEventListener(kind: 'open', listener: () => void): void;
  addEventListener(kind: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(kind: 'close', listener: (event: { code: number; reason: string }) => void): void;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

/** Why there is no way to the shell any more. */
export type Stop = Exclude<Ending, 'dropped'> | 'gone' | 'blocked' | 'refused';

export interface Server {
  ticket: (resume: string | null, proof: Proof) => Promise<TerminalTicket>;
  socket: (ticket: string, size: Size) => Socket;
}

/** The one who shows the shell. */
export interface Viewer {
  size: () => Size;
  /** The way is open; to a shell that was there before, what it has written comes once more. */
  opened: (isReturn: boolean) => void;
  output: (bytes: Uint8Array, shown: () => void) => void;
  lost: (keptUntil: number) => void;
  stopped: (stop: Stop, why: { reason: string; error: unknown }) => void;
  latency: (ms: number) => void;
}

const OPEN = 1;
/** A first socket that cannot be opened this often is not let through. */
const FIRST_TRIES = 3;

export class Link {
  readonly #server: Server;
  readonly #viewer: Viewer;
  readonly #encoder = new TextEncoder();
  #terminalId: string | null = null;
  #socket: Socket | null = null;
  #keptUntil: number | null = null;
  #failures = 0;
  #wasOpen = false;
  #received = 0;
  #shown = 0;
  #acked = 0;
  #pingAt: number | null = null;
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ping: ReturnType<typeof setInterval> | undefined;
  #pong: ReturnType<typeof setTimeout> | undefined;

  constructor(server: Server, viewer: Viewer, terminalId: string | null = null) {
    this.#server = server;
    this.#viewer = viewer;
    this.#terminalId = terminalId;
  }

  /** Names the shell for as long as it lives. */
  get terminalId(): string | null {
    return this.#terminalId;
  }

  /** Opens the shell, or comes back to it; what is refused is told to the viewer. */
  async open(): Promise<void> {
    const attempt = this.#begin();
    try {
      await this.#enter(attempt, {});
    } catch (error) {
      if (attempt === this.#attempt) this.#refused(error);
    }
  }

  /** The same with a proof of who one is; a refusal of the proof is thrown. */
  async confirm(proof: Proof): Promise<void> {
    const attempt = this.#begin();
    try {
      await this.#enter(attempt, proof);
    } catch (error) {
      if (codeOf(error) !== 'terminal_gone') throw error;
      this.#refused(error);
    }
  }

  /** Tries at once instead of after the pause: the network is said to be back. */
  hurry(): void {
    if (this.#keptUntil === null || this.#socket !== null) return;
    void this.#again();
  }

  /** Sends what was typed. Bytes are never taken for words between page and server. */
  type(text: string): void {
    if (this.#socket?.readyState !== OPEN) return;
    const bytes = this.#encoder.encode(text);
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) this.#socket.send(bytes.slice(at, at + PIECE_BYTES));
  }

  resize(size: Size): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(resizeFrame(size));
  }

  /** Ends the shell. */
  end(): void {
    this.#attempt += 1;
    this.#terminalId = null;
    this.#keptUntil = null;
    this.#drop(CLOSED_ON_PURPOSE);
  }

  /** Starts anew: what earlier attempts still say does not count. */
  #begin(): number {
    this.#drop();
    this.#attempt += 1;
    return this.#attempt;
  }

  async #enter(attempt: number, proof: Proof): Promise<void> {
    const resume = this.#terminalId;
    const { ticket, terminal_id: id } = await this.#server.ticket(resume, proof);
    if (attempt !== this.#attempt) return;
    const socket = this.#server.socket(ticket, this.#viewer.size());
    this.#socket = socket;
    socket.addEventListener('open', () => { if (socket === this.#socket) this.#opened(socket, id, resume !== null); });
    socket.addEventListener('message', ({ data }) => { if (socket === this.#socket && typeof data === 'string') this.#heard(socket, data); });
    socket.addEventListener('close', ({ code, reason }) => { if (socket === this.#socket) this.#closed(code, reason); });
  }

  /** Only now there is a shell: before, there is nothing to come back to. */
  #opened(socket: Socket, id: string, isReturn: boolean): void {
    this.#terminalId = id;
    this.#keptUntil = null;
    this.#failures = 0;
    this.#wasOpen = true;
    this.#received = 0;
    this.#shown = 0;
    this.#acked = 0;
    this.#viewer.opened(isReturn);
    // The screen may have changed its size since the ticket was asked for.
    socket.send(resizeFrame(this.#viewer.size()));
    this.#askAlive();
    this.#ping = setInterval(() => { this.#askAlive(); }, PING_EVERY_MS);
  }

  #heard(socket: Socket, text: string): void {
    if (text === PONG && this.#pingAt !== null) {
      this.#viewer.latency(Date.now() - this.#pingAt);
      this.#pingAt = null;
      clearTimeout(this.#pong);
      return;
    }
    const bytes = this.#encoder.encode(text);
    this.#received += bytes.length;
    this.#viewer.output(bytes, () => { if (socket === this.#socket) this.#acknowledge(socket, bytes.length); });
  }

  #acknowledge(socket: Socket, bytes: number): void {
    this.#shown += bytes;
    if (this.#shown - this.#acked < ACK_EVERY_BYTES || socket.readyState !== OPEN) return;
    this.#acked = this.#shown;
    socket.send(ackFrame(this.#shown));
  }

  #askAlive(): void {
    if (this.#socket?.readyState !== OPEN || this.#pingAt !== null) return;
    this.#pingAt = Date.now();
    const heardBefore = this.#received;
    this.#socket.send(PING);
    // Much output before the answer is a sign of life too.
    this.#pong = setTimeout(() => {
      this.#pingAt = null;
      if (this.#received === heardBefore) this.#closed(1006, '');
    }, PONG_WITHIN_MS);
  }

  #closed(code: number, reason: string): void {
    const ending = endingOf(code);
    this.#drop();
    if (ending === 'dropped') this.#tryAgain();
    else this.#stop(ending, { reason, error: null });
  }

  #refused(error: unknown): void {
    const code = codeOf(error);
    const isSilence = code === 'unreachable' || (error instanceof ApiError && error.status >= 500);
    this.#drop();
    if (isSilence && this.#keptUntil !== null) this.#tryAgain();
    else if (code === 'terminal_gone') this.#stop('gone', { reason: '', error });
    else if (code === 'step_up_required') this.#stop('locked', { reason: '', error });
    else this.#stop('refused', { reason: '', error });
  }

  #stop(stop: Stop, why: { reason: string; error: unknown }): void {
    this.#attempt += 1;
    this.#keptUntil = null;
    this.#failures = 0;
    if (stop === 'exited' || stop === 'gone' || stop === 'session') this.#terminalId = null;
    this.#viewer.stopped(stop, why);
  }

  #tryAgain(): void {
    this.#keptUntil ??= Date.now() + KEPT_MS;
    this.#failures += 1;
    if (!this.#wasOpen && this.#failures >= FIRST_TRIES) this.#stop('blocked', { reason: '', error: null });
    else if (Date.now() >= this.#keptUntil) this.#stop('gone', { reason: '', error: null });
    else {
      if (this.#wasOpen) this.#viewer.lost(this.#keptUntil);
      this.#retry = setTimeout(() => { void this.#again(); }, pauseMs(this.#failures - 1));
    }
  }

  async #again(): Promise<void> {
    await this.open();
  }

  /** Lets go of socket and timers; nothing that is still said on them is heard. */
  #drop(code = COMING_BACK): void {
    clearTimeout(this.#retry);
    clearInterval(this.#ping);
    clearTimeout(this.#pong);
    this.#pingAt = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(code);
  }
}

function codeOf(error: unknown): string {
  return error instanceof ApiError ? error.code : 'unreachable';
}
