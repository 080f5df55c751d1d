// Printing the recovery kit from a dialog: the sheet alone goes to the printer, and is gone after.

import { flushSync, mount, unmount } from 'svelte';
import '../styles/print.css';
import KitSheet from './KitSheet.svelte';

/** Prints the recovery kit with the codes given. */
export function printKit(codes: string[]): void {
  const place = document.createElement('div');
  place.className = 'print-place';
  document.body.append(place);
  document.body.classList.add('printing');
  const sheet = mount(KitSheet, { target: place, props: { codes } });
  flushSync();
  window.addEventListener('afterprint', () => {
    void unmount(sheet);
    place.remove();
    document.body.classList.remove('printing');
  }, { once: true });
  window.print();
}
