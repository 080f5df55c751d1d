// The screen of one shell: xterm and its addons. It lives beside the page, so that what was shown is still
// there when one comes back to it.

import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { sequenceOf, shortcutOf, type KeyMode, type Shortcut } from './keys.ts';
import { findMarks, paletteAt, themeOf } from './palette.ts';
import { defineSheet } from './sheet.ts';
import { scrollByTouch } from './touch.ts';
import type { Size } from './wire.ts';

const SCROLLBACK_LINES = 5000;
const LEAST: Size = { cols: 20, rows: 5 };

interface Hooks {
  /** What was typed, pasted, or answered by the screen itself. */
  typed: (text: string) => void;
  resized: (size: Size) => void;
  titled: (title: string) => void;
  selected: (isSelected: boolean) => void;
  shortcut: (shortcut: Shortcut) => void;
  /** A key went down in the screen: someone is there. */
  pressed: () => void;
  pasted: (text: string) => void;
  found: (at: number, all: number) => void;
}

export class Screen {
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #search = new SearchAddon();
  readonly #place = document.createElement('div');
  readonly #hooks: Hooks;
  #look: { size: number; isRead: boolean };
  #isOpen = false;

  constructor(hooks: Hooks, look: { size: number; isRead: boolean }) {
    defineSheet();
    this.#hooks = hooks;
    this.#look = look;
    this.#place.className = 'term-place';
    this.#terminal = new Terminal({
      // The search addon marks what it finds by an interface that xterm calls proposed.
      allowProposedApi: true,
      fontSize: look.size,
      screenReaderMode: look.isRead,
      // As high as the type: frames that programs draw have no gaps.
      lineHeight: 1,
      scrollback: SCROLLBACK_LINES,
      minimumContrastRatio: 4.5,
      macOptionIsMeta: true,
      // A link of a program opens nothing.
      linkHandler: { activate: () => {} },
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.loadAddon(this.#search);
    this.#terminal.attachCustomKeyEventHandler((event) => this.#take(event));
    this.#terminal.onData((text) => { hooks.typed(text); });
    this.#terminal.onResize((size) => { hooks.resized(size); });
    this.#terminal.onTitleChange((title) => { hooks.titled(title); });
    this.#terminal.onSelectionChange(() => { hooks.selected(this.#terminal.hasSelection()); });
    this.#search.onDidChangeResults(({ resultIndex, resultCount }) => { hooks.found(resultIndex + 1, resultCount); });
    // Before xterm: many lines are asked about first.
    this.#place.addEventListener('paste', (event) => { this.#pasted(event); }, true);
    scrollByTouch(this.#place, { lineHeight: () => this.#place.clientHeight / this.#terminal.rows, scroll: (lines) => { this.#scroll(lines); } });
  }

  get size(): Size {
    return { cols: this.#terminal.cols, rows: this.#terminal.rows };
  }

  get selection(): string {
    return this.#terminal.getSelection();
  }

  get keyMode(): Pick<KeyMode, 'isApplicationCursor'> {
    return { isApplicationCursor: this.#terminal.modes.applicationCursorKeysMode };
  }

  /** What can be seen, line by line; wrapped lines are one. */
  get visibleText(): string {
    const { active } = this.#terminal.buffer;
    let text = '';
    for (let row = active.viewportY; row < active.viewportY + this.#terminal.rows; row += 1) {
      const line = active.getLine(row);
      if (line !== undefined) text += `${line.isWrapped || row === active.viewportY ? '' : '\n'}${line.translateToString(true)}`;
    }
    return text.trimEnd();
  }

  /** Shows the screen in an element, until the returned function is called. */
  show(element: HTMLElement, { input, tooMuch }: { input: string; tooMuch: string }): () => void {
    element.append(this.#place);
    Terminal.strings.promptLabel = input;
    Terminal.strings.tooMuchOutput = tooMuch;
    if (!this.#isOpen) {
      this.#terminal.options.fontFamily = getComputedStyle(element).fontFamily;
      this.recolour();
      this.#terminal.open(this.#place);
      this.#isOpen = true;
    }
    this.#terminal.textarea?.setAttribute('aria-label', input);
    this.recolour();
    this.setLook(this.#look);
    const observer = new ResizeObserver(() => { this.fit(); });
    observer.observe(this.#place);
    return () => {
      observer.disconnect();
      this.#place.remove();
    };
  }

  /** Makes as many rows and columns as there is room for. */
  fit(): void {
    if (!this.#isOpen || this.#place.clientWidth === 0) return;
    const wanted = this.#fit.proposeDimensions();
    if (wanted === undefined || Number.isNaN(wanted.cols) || Number.isNaN(wanted.rows)) return;
    const cols = Math.max(wanted.cols, LEAST.cols);
    const rows = Math.max(wanted.rows, LEAST.rows);
    if (cols !== this.#terminal.cols || rows !== this.#terminal.rows) this.#terminal.resize(cols, rows);
  }

  /** Takes the colours of the theme that is shown. */
  recolour(): void {
    if (this.#place.isConnected) this.#terminal.options.theme = themeOf(paletteAt(this.#place));
  }

  /** Takes another look; a screen that is not shown cannot be measured, and takes it when it is. */
  setLook(look: { size: number; isRead: boolean }): void {
    this.#look = look;
    if (!this.#place.isConnected) return;
    this.#terminal.options.fontSize = look.size;
    this.#terminal.options.screenReaderMode = look.isRead;
    this.fit();
  }

  write(bytes: Uint8Array, shown: () => void): void {
    this.#terminal.write(bytes, shown);
  }

  /** Forgets everything shown and every mode, once all that was written before is through; CAN ends what it left half said. */
  reset(): void {
    this.#terminal.write('\u0018', () => { this.#terminal.reset(); });
  }

  /** Pastes: programs that ask for it are told where a paste begins and ends. */
  paste(text: string): void {
    this.#terminal.paste(text);
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** Takes no keys while there is no way to the shell. */
  setDeaf(isDeaf: boolean): void {
    this.#terminal.options.disableStdin = isDeaf;
  }

  /** Goes to the next place that holds a text; an empty text takes the marks away. */
  find(text: string, direction: 'next' | 'previous', isTyping: boolean): void {
    if (text === '') return this.endSearch();
    const options = { decorations: findMarks(paletteAt(this.#place)), incremental: isTyping && direction === 'next' };
    if (direction === 'next') this.#search.findNext(text, options);
    else this.#search.findPrevious(text, options);
  }

  endSearch(): void {
    this.#search.clearDecorations();
    this.#terminal.clearSelection();
    this.#hooks.found(0, 0);
  }

  dispose(): void {
    this.#terminal.dispose();
    this.#place.remove();
  }

  /** Goes through what was shown; in a program that fills the screen, presses its arrows, as the wheel does. */
  #scroll(lines: number): void {
    if (this.#terminal.buffer.active.type === 'normal') return this.#terminal.scrollLines(lines);
    const arrow = sequenceOf(lines < 0 ? 'ArrowUp' : 'ArrowDown', { ...this.keyMode, isControlHeld: false });
    this.#hooks.typed(arrow.repeat(Math.abs(lines)));
  }

  /** Returns false for the page's own keys: xterm then leaves them alone. */
  #take(event: KeyboardEvent): boolean {
    if (event.type === 'keydown') this.#hooks.pressed();
    const shortcut = shortcutOf(event);
    if (shortcut === null) return true;
    // The browser pastes by itself, also over plain HTTP; the paste is met on its way.
    if (shortcut === 'paste') return false;
    event.preventDefault();
    if (event.type === 'keydown') this.#hooks.shortcut(shortcut);
    return false;
  }

  #pasted(event: ClipboardEvent): void {
    const text = event.clipboardData?.getData('text/plain') ?? '';
    event.preventDefault();
    event.stopPropagation();
    if (text !== '') this.#hooks.pasted(text);
  }
}
