// What the stories of the terminal share: the way in, what the screen says, and a wire that can be cut.

import { createConnection, createServer } from 'node:net';
import { fillLogin, WAIT_MS } from './harness.mjs';

/** Signs in and opens the Terminal page; waits for its first shell unless told not to. */
export async function openTerminal(page, url, { waits = true, code } = {}) {
  await page.goto(`${url}/terminal`);
  await fillLogin(page);
  if (code !== undefined) await page.getByLabel('Verification code').fill(code);
  if (waits) await waitForPrompt(page);
}

/** The line into which one types. */
export const input = (page) => page.getByRole('textbox', { name: /^(?:Shell input|Entrada de la shell)/ });

/** What the screen shows now. */
export async function screenText(page) {
  return page.locator('.xterm-rows').evaluate((rows) => [...rows.children].map((row) => row.textContent.replaceAll('\u00A0', ' ').trimEnd()).join('\n').trim());
}

/** Waits until the screen shows what is wanted, and returns all of it. */
export async function waitForText(page, wanted, withinMs = WAIT_MS) {
  const until = Date.now() + withinMs;
  let text = '';
  while (Date.now() < until) {
    text = await screenText(page).catch(() => '');
    if (typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text)) return text;
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  throw new Error(`the screen does not show ${wanted}:\n${text}`);
}

export async function waitForPrompt(page) {
  await page.locator('.xterm-rows').waitFor();
  await waitForText(page, /[#$%>]\s*$/);
}

/** Types a command and sends it. */
export async function run(page, command) {
  await input(page).focus();
  await page.keyboard.type(command);
  await page.keyboard.press('Enter');
}

/** Chooses from the menu of the terminal. */
export async function choose(page, item) {
  await page.getByRole('button', { name: 'More', exact: true }).click();
  await page.getByRole('menuitem', { name: item, exact: true }).click();
}

/** Rows and columns as the shell has them. */
export async function sizeOfShell(page, mark) {
  await run(page, `echo ${mark}=$(stty size | tr ' ' x)`);
  const text = await waitForText(page, new RegExp(`^${mark}=\\d+x\\d+`, 'm'));
  const [, rows, cols] = new RegExp(`^${mark}=(\\d+)x(\\d+)`, 'm').exec(text);
  return { rows: Number(rows), cols: Number(cols) };
}

/** Takes part in what the page sends: the session's token is nowhere but in its memory. */
export function tokenOf(page) {
  return new Promise((resolve) => {
    page.on('request', (request) => {
      const header = request.headers().authorization;
      if (header?.startsWith('Bearer ')) resolve(header.slice(7));
    });
  });
}

/** A wire between page and server that can be cut, and mended. */
export async function startWire(target) {
  const { hostname, port } = new URL(target);
  const open = new Set();
  let isCut = false;
  const wire = createServer((near) => {
    if (isCut) {
      near.destroy();
      return;
    }
    const far = createConnection({ host: hostname, port: Number(port) });
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise((resolve) => { wire.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${wire.address().port}`,
    cut: () => {
      isCut = true;
      for (const one of open) one.destroy();
    },
    mend: () => { isCut = false; },
    close: () => {
      for (const one of open) one.destroy();
      wire.close();
    },
  };
}
