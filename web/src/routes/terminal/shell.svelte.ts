// One shell as the page shows it: its screen, the way to it, and what state both are in.

import * as api from '../../api/client.ts';
import type { Proof } from '../../api/types.ts';
import { idle } from '../../state/idle.svelte.ts';
import { withControl, sequenceOf, type Shortcut, type TouchKey } from './keys.ts';
import { Link, type Stop } from './link.ts';
import { look } from './look.svelte.ts';
import { pasteOf, type Paste } from './pasting.ts';
import { Replay } from './replay.ts';
import { Screen } from './screen.ts';
import type { Size } from './wire.ts';

/** `lost` comes back by itself; the stops want a person. */
export type Phase = 'opening' | 'open' | 'lost' | Stop;

/** What the page does for a shell that has the focus. */
export interface Keyboard {
  shortcut: (shortcut: Shortcut) => void;
}

const BACK_SHOWN_MS = 5000;

let made = 0;

export class Shell {
  readonly key: number;
  readonly number: number;
  phase = $state<Phase>('opening');
  /** Given by the person; null shows the number. */
  name = $state<string | null>(null);
  title = $state('');
  /** How the shell's program ended, as the server says it. */
  reason = $state('');
  error = $state.raw<unknown>(null);
  keptUntil = $state<number | null>(null);
  latencyMs = $state<number | null>(null);
  size = $state.raw<Size>({ cols: 80, rows: 24 });
  isSelected = $state(false);
  isControlHeld = $state(false);
  /** Many lines that wait for a yes. */
  waiting = $state.raw<Paste | null>(null);
  found = $state.raw({ at: 0, all: 0 });
  /** It has been shown: what was there can still be read. */
  wasOpen = $state(false);
  /** It has just come back. */
  isBack = $state(false);
  keyboard: Keyboard | null = null;
  readonly screen: Screen;
  readonly #link: Link;
  readonly #isLeftBehind: boolean;
  readonly #replay = new Replay();
  #asksForLines = true;
  #back: ReturnType<typeof setTimeout> | undefined;

  constructor(number: number, terminalId: string | null, onstate: () => void) {
    made += 1;
    this.key = made;
    this.number = number;
    this.#isLeftBehind = terminalId !== null;
    this.screen = new Screen({
      // An answer of the screen to what comes once more is no answer any more.
      typed: (text) => { if (!this.#replay.isOn) this.#type(text); },
      resized: (size) => {
        this.size = size;
        this.#link.resize(size);
      },
      titled: (title) => { this.title = title; },
      selected: (isSelected) => { this.isSelected = isSelected; },
      shortcut: (shortcut) => { this.keyboard?.shortcut(shortcut); },
      pressed: () => { this.#touch(); },
      pasted: (text) => { this.paste(text); },
      found: (at, all) => { this.found = { at, all }; },
    }, look);
    this.#link = new Link({ ticket: api.terminalTicket, socket: (ticket, size) => api.terminalSocket(ticket, size) }, {
      size: () => this.screen.size,
      opened: (isReturn) => {
        // What the server kept of an old shell comes once more, from its beginning.
        if (isReturn) {
          this.screen.reset();
          this.#replay.start();
        }
        if (this.phase === 'lost') this.#sayBack();
        this.wasOpen = true;
        this.#enter('open');
        onstate();
      },
      output: (bytes, shown) => {
        this.#replay.heard();
        this.screen.write(bytes, shown);
      },
      lost: (keptUntil) => {
        this.keptUntil = keptUntil;
        this.#enter('lost');
      },
      stopped: (stop, { reason, error }) => {
        this.reason = reason;
        this.error = error;
        this.#enter(stop);
        onstate();
      },
      latency: (ms) => { this.latencyMs = ms; },
    }, terminalId);
  }

  get terminalId(): string | null {
    return this.#link.terminalId;
  }

  /** The shell itself was there before: it can be locked, not only asked about. */
  get isOld(): boolean {
    return this.wasOpen || this.#isLeftBehind;
  }

  /** Nobody may see the screen before it is confirmed who looks. */
  get isCovered(): boolean {
    return this.phase === 'locked';
  }

  /** Opens the shell, or takes it back. */
  open(): void {
    this.#enter('opening');
    void this.#link.open();
  }

  /** Opens it with a proof of who one is; throws what is refused of it. */
  async confirm(proof: Proof): Promise<void> {
    await this.#link.confirm(proof);
  }

  /** A new shell in the place of one that has ended. */
  renew(): void {
    this.screen.reset();
    this.title = '';
    this.wasOpen = false;
    this.open();
  }

  hurry(): void {
    this.#link.hurry();
  }

  press(key: TouchKey): void {
    this.#touch();
    if (key === 'Control') {
      this.isControlHeld = !this.isControlHeld;
      return;
    }
    this.#link.type(sequenceOf(key, { ...this.screen.keyMode, isControlHeld: this.isControlHeld }));
    this.isControlHeld = false;
  }

  /** Pastes a text; many lines wait for a yes. */
  paste(text: string): void {
    this.#touch();
    const paste = pasteOf(text);
    if (paste.lines > 1 && this.#asksForLines) this.waiting = paste;
    else this.screen.paste(paste.text);
  }

  /** Pastes what waits, and asks no more where that is wished. */
  pasteWaiting(text: string, asksAgain: boolean): void {
    this.#touch();
    this.waiting = null;
    this.#asksForLines = asksAgain;
    if (text !== '') this.screen.paste(pasteOf(text).text);
  }

  /** Ends the shell and takes its screen away. */
  dispose(): void {
    this.#link.end();
    this.screen.dispose();
  }

  /** Someone is there. */
  #touch(): void {
    idle.stay();
    this.#replay.stop();
  }

  #type(text: string): void {
    const isHeld = this.isControlHeld && text.length === 1;
    this.isControlHeld = this.isControlHeld && !isHeld;
    this.#link.type(isHeld ? withControl(text) : text);
  }

  #sayBack(): void {
    clearTimeout(this.#back);
    this.isBack = true;
    this.#back = setTimeout(() => { this.isBack = false; }, BACK_SHOWN_MS);
  }

  #enter(phase: Phase): void {
    if (phase !== 'open') this.isBack = false;
    this.phase = phase;
    if (phase !== 'lost') this.keptUntil = null;
    if (phase !== 'open') this.latencyMs = null;
    this.screen.setDeaf(phase !== 'open');
  }
}
