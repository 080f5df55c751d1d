// Waiting is shown only where it lasts.

const DELAY_MS = 150;

/** Returns a reader that is true while `isBusy` has been true for 150 ms. Call it while a component is set up. */
export function laggard(isBusy: () => boolean): () => boolean {
  let isLate = $state(false);
  $effect(() => {
    if (!isBusy()) return;
    const timer = setTimeout(() => { isLate = true; }, DELAY_MS);
    return () => {
      clearTimeout(timer);
      isLate = false;
    };
  });
  return () => isLate;
}
