// What is done with a pasted text before the shell gets it.

export interface Paste { text: string; lines: number }

/** Returns a text as it is pasted. A single line never brings its own Enter. */
export function pasteOf(text: string): Paste {
  const lines = text.replace(/\r\n?/g, '\n').replace(/\n+$/, '').split('\n').length;
  return { text: lines === 1 ? text.replace(/[\r\n]+$/, '') : text, lines };
}
