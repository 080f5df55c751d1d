// The keys that a phone's keyboard lacks, and what they send.

export const TOUCH_KEYS = ['Escape', 'Tab', 'Control', 'ArrowLeft', 'ArrowUp', 'ArrowDown', 'ArrowRight', '|', '/', '~', '-'] as const;
export type TouchKey = (typeof TOUCH_KEYS)[number];

/** How the running program wants its keys. */
export interface KeyMode {
  /** Arrows come as SS3 instead of CSI (DECCKM). */
  isApplicationCursor: boolean;
  isControlHeld: boolean;
}

const ARROWS: Partial<Record<TouchKey, string>> = { ArrowUp: 'A', ArrowDown: 'B', ArrowRight: 'C', ArrowLeft: 'D' };

/** Returns the control character of a typed one, as a terminal's Ctrl makes it; what has none stays. */
export function withControl(text: string): string {
  if (text.length !== 1) return text;
  if (text === ' ') return '\u0000';
  if (text === '?') return '\u007F';
  if (text === '/') return '\u001F';
  return /^[a-z@[\\\]^_]$/i.test(text) ? String.fromCodePoint((text.codePointAt(0) ?? 0) & 0x1f) : text;
}

/** Returns what a key sends. Ctrl itself sends nothing: it changes the next one. */
export function sequenceOf(key: Exclude<TouchKey, 'Control'>, { isApplicationCursor, isControlHeld }: KeyMode): string {
  const arrow = ARROWS[key];
  if (arrow !== undefined) return isControlHeld ? `\u001B[1;5${arrow}` : `\u001B${isApplicationCursor ? 'O' : '['}${arrow}`;
  if (key === 'Escape') return '\u001B';
  if (key === 'Tab') return '\t';
  return isControlHeld ? withControl(key) : key;
}

/** What the page does itself with a key in the screen; everything else belongs to the shell. */
export type Shortcut = 'leave' | 'copy' | 'paste' | 'search' | 'next' | 'previous';

/** Names the key that leads out of the screen, for the page's texts. */
export const LEAVE_KEY = 'Ctrl+Shift+F6';

/** Returns the shortcut of a key press. On a Mac the browser's own keys copy and paste. */
export function shortcutOf({ ctrlKey, shiftKey, altKey, metaKey, code }: Pick<KeyboardEvent, 'ctrlKey' | 'shiftKey' | 'altKey' | 'metaKey' | 'code'>): Shortcut | null {
  if (!ctrlKey || !shiftKey || altKey || metaKey) return null;
  switch (code) {
    case 'F6': return 'leave';
    case 'KeyC': return 'copy';
    case 'KeyV': return 'paste';
    case 'KeyF': return 'search';
    case 'ArrowRight': return 'next';
    case 'ArrowLeft': return 'previous';
    default: return null;
  }
}
