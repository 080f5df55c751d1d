// What a shell is called.

import type { TerminalTexts } from '../../texts/terminal/en.ts';
import type { Shell } from './shell.svelte.ts';

export const MAX_NAME_LENGTH = 32;

/** Returns the name on a shell's tab. */
export function nameOf(shell: Shell, texts: TerminalTexts): string {
  return shell.name ?? texts.tabs.name(shell.number);
}
