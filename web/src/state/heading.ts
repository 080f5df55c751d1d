// Where the focus goes when another page or door is shown: to its heading.

let isFirst = true;

/** For a heading: the first one of a visit leaves the focus alone, each later one takes it. */
export function heading(element: HTMLElement): void {
  element.tabIndex = -1;
  if (!isFirst) element.focus({ preventScroll: true });
  isFirst = false;
}

/** For a door that puts the focus into a field of its own. */
export function headingSeen(): void {
  isFirst = false;
}
