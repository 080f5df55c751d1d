// Scrolling with a finger: xterm itself knows only the wheel.

export interface Scrolling {
  /** How high a line is, in pixels. */
  lineHeight: () => number;
  /** Down by so many lines; less than zero is up. */
  scroll: (lines: number) => void;
}

/** Turns the way of a finger into whole lines; what is left over counts for the next move. */
export function lineCounter(lineHeight: () => number): (pixels: number) => number {
  let left = 0;
  return (pixels) => {
    const height = lineHeight();
    if (height <= 0) return 0;
    left += pixels;
    const lines = Math.trunc(left / height);
    left -= lines * height;
    return lines;
  };
}

/** Lets one finger scroll what is in an element. */
export function scrollByTouch(element: HTMLElement, { lineHeight, scroll }: Scrolling): void {
  let from: number | null = null;
  let count = lineCounter(lineHeight);
  element.addEventListener('touchstart', ({ touches }) => {
    from = touches.length === 1 ? (touches[0]?.clientY ?? null) : null;
    count = lineCounter(lineHeight);
  }, { passive: true });
  element.addEventListener('touchmove', (event) => {
    const to = event.touches[0]?.clientY;
    if (from === null || to === undefined) return;
    event.preventDefault();
    const lines = count(from - to);
    from = to;
    if (lines !== 0) scroll(lines);
  }, { passive: false });
}
