// Lines of a plot: the last hour, zero based.

export const PLOT_WIDTH = 300;
export const PLOT_HEIGHT = 72;

/** Returns the path of a line; missing readings leave a gap. Newest value at the right edge. */
export function linePath(values: (number | null)[], slots: number, top: number): string {
  let path = '';
  let pen = 'M';
  values.forEach((value, index) => {
    if (value === null) {
      pen = 'M';
      return;
    }
    path += `${pen}${xOf(index, values.length, slots)} ${yOf(value, top)}`;
    pen = 'L';
  });
  return path;
}

/** Returns the closed path under a line. */
export function fillPath(values: (number | null)[], slots: number, top: number): string {
  let path = '';
  let start: number | null = null;
  const close = (end: number): void => {
    if (start === null) return;
    const run = values.slice(start, end + 1);
    const points = run.map((value, offset) => `L${xOf((start ?? 0) + offset, values.length, slots)} ${yOf(value ?? 0, top)}`).join('');
    path += `M${xOf(start, values.length, slots)} ${PLOT_HEIGHT}${points}L${xOf(end, values.length, slots)} ${PLOT_HEIGHT}z`;
    start = null;
  };
  values.forEach((value, index) => {
    if (value === null) close(index - 1);
    else start ??= index;
  });
  close(values.length - 1);
  return path;
}

/** Returns a round number (1, 2 or 5 times a power of ten) at or above every value. */
export function roundTop(values: (number | null)[], atLeast = 1): number {
  const highest = Math.max(atLeast, ...values.map((value) => value ?? 0));
  const power = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= highest) ?? highest;
}

function xOf(index: number, length: number, slots: number): string {
  return (PLOT_WIDTH - ((length - 1 - index) * PLOT_WIDTH) / Math.max(1, slots - 1)).toFixed(1);
}

function yOf(value: number, top: number): string {
  const share = Math.min(1, Math.max(0, value / top));
  return (PLOT_HEIGHT - share * (PLOT_HEIGHT - 1)).toFixed(1);
}
