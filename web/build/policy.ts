// Fits xterm to the page's policy, which allows no inline style. It writes its style sheets into <style>
// elements and some colours into style attributes; in their place come an element of our own, which holds
// a constructed sheet, and the style property (CSP 3 §6.1.13 is about neither).

import type { Plugin } from 'vite';

const XTERM = /\/@xterm\/xterm\/lib\/xterm\.mjs(?:\?|$)/;

/** What is replaced, how often it stands in the version that `package-lock.json` holds, and by what. */
const CHANGES = [
  { what: /createElement\("style"\)/g, times: 3, by: 'createElement("term-style")' },
  { what: /(\w+)\.setAttribute\("style",`\$\{\1\.getAttribute\("style"\)\|\|""\}\$\{(\w+)\};`\)/g, times: 1, by: '$1.style.cssText+=$2' },
];

/** Returns xterm without inline styles; throws where another version no longer has what is replaced. */
export function fitted(source: string): string {
  return CHANGES.reduce((text, { what, times, by }) => {
    const found = text.match(what)?.length ?? 0;
    if (found !== times) throw new Error(`xterm has ${found} of ${what.source}, not ${times}: look how it styles itself now`);
    return text.replace(what, by);
  }, source);
}

/** Rewrites xterm while the page is built. */
export function policy(): Plugin {
  return {
    name: 'policy',
    enforce: 'pre',
    transform(code, id) {
      return XTERM.test(id) ? { code: fitted(code), map: null } : null;
    },
  };
}
