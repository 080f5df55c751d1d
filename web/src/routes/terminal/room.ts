// How high the terminal may be: down to the edge of what is seen, also above a phone's keyboard.

const KEYBOARD_PX = 120;

/** Keeps `--term-top`, `--term-seen` and `--term-moved` of an element right, for its style to reckon with. */
export function room(element: HTMLElement): () => void {
  const viewport = window.visualViewport;
  const measure = (): void => {
    const hidden = window.innerHeight - (viewport?.height ?? window.innerHeight);
    const hasKeyboard = hidden > KEYBOARD_PX && (viewport?.scale ?? 1) === 1;
    element.classList.toggle('above-keyboard', hasKeyboard);
    element.style.setProperty('--term-top', `${Math.round(element.getBoundingClientRect().top + window.scrollY)}px`);
    if (!hasKeyboard) return;
    element.style.setProperty('--term-seen', `${Math.round(viewport?.height ?? 0)}px`);
    // Some browsers move what is seen instead of the page.
    element.style.setProperty('--term-moved', `${Math.round(viewport?.offsetTop ?? 0)}px`);
  };
  const resized = new ResizeObserver(measure);
  resized.observe(document.body);
  // Lines and notices above come and go.
  const moved = new MutationObserver(measure);
  for (let place = element.parentElement; place !== null && place !== document.body; place = place.parentElement) moved.observe(place, { childList: true });
  viewport?.addEventListener('resize', measure);
  viewport?.addEventListener('scroll', measure);
  measure();
  return () => {
    resized.disconnect();
    moved.disconnect();
    viewport?.removeEventListener('resize', measure);
    viewport?.removeEventListener('scroll', measure);
  };
}
