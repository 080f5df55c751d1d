// An element that holds a style sheet without being an inline style: the page's policy allows none.
// `build/policy.ts` lets xterm make it in place of <style>.

class TermStyle extends HTMLElement {
  readonly #sheet = new CSSStyleSheet();

  override get textContent(): string {
    return '';
  }

  override set textContent(css: string) {
    this.#sheet.replaceSync(css);
  }

  connectedCallback(): void {
    if (!document.adoptedStyleSheets.includes(this.#sheet)) document.adoptedStyleSheets.push(this.#sheet);
  }

  disconnectedCallback(): void {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== this.#sheet);
  }
}

/** Makes the element known. */
export function defineSheet(): void {
  if (customElements.get('term-style') === undefined) customElements.define('term-style', TermStyle);
}
