// The terminal's colours, read from the design tokens: xterm wants them as values.

import type { ITheme } from '@xterm/xterm';
import type { ISearchOptions } from '@xterm/addon-search';

const NAMES = ['bg', 'ink', 'dim', 'green', 'cyan', 'yellow', 'red', 'blue', 'magenta', 'control', 'mark', 'found'] as const;
type Palette = Record<(typeof NAMES)[number], string>;

/** Returns `#rrggbb` of a computed colour such as `rgb(20, 25, 26)`. */
export function hex(computed: string): string {
  const parts = computed.match(/\d+(?:\.\d+)?/g)?.slice(0, 3) ?? [];
  return `#${parts.map((part) => Math.round(Number(part)).toString(16).padStart(2, '0')).join('')}`;
}

/** Reads the tokens as they are at an element, in the theme that is shown. */
export function paletteAt(place: HTMLElement): Palette {
  const probe = document.createElement('span');
  probe.hidden = true;
  place.append(probe);
  const read = (name: string): string => {
    probe.style.color = `var(--term-${name})`;
    return hex(getComputedStyle(probe).color);
  };
  const palette = Object.fromEntries(NAMES.map((name) => [name, read(name)])) as Palette;
  probe.remove();
  return palette;
}

/** Returns the sixteen colours of programs and those of the screen itself. */
export function themeOf({ bg, ink, dim, green, cyan, yellow, red, blue, magenta, control, mark }: Palette): ITheme {
  return {
    background: bg, foreground: ink, cursor: ink, cursorAccent: bg,
    selectionBackground: mark, selectionInactiveBackground: mark,
    scrollbarSliderBackground: `${control}66`, scrollbarSliderHoverBackground: `${control}99`, scrollbarSliderActiveBackground: control,
    black: bg, red, green, yellow, blue, magenta, cyan, white: ink,
    brightBlack: dim, brightRed: red, brightGreen: green, brightYellow: yellow, brightBlue: blue, brightMagenta: magenta, brightCyan: cyan, brightWhite: ink,
  };
}

/** Returns how found places are marked. */
export function findMarks({ control, mark, found }: Palette): NonNullable<ISearchOptions['decorations']> {
  return { matchBackground: mark, matchOverviewRuler: control, activeMatchBackground: mark, activeMatchBorder: found, activeMatchColorOverviewRuler: found };
}
