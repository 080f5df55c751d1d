// axe: the rules of WCAG A and AA, run in the page itself.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** Each theme once, each width once: colours do not depend on the width, nor layout on the theme. */
export const LOOKS = [{ theme: 'light', width: 390 }, { theme: 'dark', width: 1280 }, { theme: 'light', width: 1280 }];

/** Fails with what axe finds. The page's context must bypass its policy, for axe is a script from outside. */
export async function assertAccessible(page, what) {
  // Menus and dialogs fade in; contrast is measured once they stand.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((one) => one.effect?.getTiming().iterations !== Infinity).map((one) => one.finished)));
  await page.evaluate(AXE);
  const found = await page.evaluate(async (tags) => {
    // What happens to be half under a bar that stays in place is not small: one scrolls.
    const bars = [...document.querySelectorAll('.header, .bar')];
    for (const bar of bars) bar.style.position = 'static';
    const { violations } = await globalThis.axe.run(document, { runOnly: tags });
    for (const bar of bars) bar.style.position = '';
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`);
  }, TAGS);
  assert.deepEqual(found, [], what);
}
