// The terminal's page: copy and paste, search, much output, a phone, Spanish.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountFile, newContext, PASSWORD, startServer } from './harness.mjs';
import { choose, input, openTerminal, run, screenText, waitForPrompt, waitForText } from './terminal.mjs';
import { contextWithClipboard } from './tokens.mjs';

test('copy and paste: keys, buttons, and many lines are shown first', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await openTerminal(page, server.url);
  await run(page, 'echo copy-this-word');
  await waitForText(page, /^copy-this-word$/m);
  await page.locator('.xterm-rows > div', { hasText: /^copy-this-word/ }).dblclick({ position: { x: 40, y: 8 }, force: true });
  await input(page).focus();
  await page.keyboard.press('Control+Shift+C');
  await page.getByText('Copied', { exact: true }).first().waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'copy-this-word');
  await page.keyboard.type('echo ');
  await page.keyboard.press('Control+Shift+V');
  await page.keyboard.type('-twice\n');
  await waitForText(page, /^copy-this-word-twice$/m);

  await page.evaluate(() => navigator.clipboard.writeText('echo one\necho two\necho three\n'));
  await page.keyboard.press('Control+Shift+V');
  const dialog = page.getByRole('dialog', { name: 'Paste 3 lines?' });
  await dialog.waitFor();
  assert.match(await dialog.getByLabel('Text').inputValue(), /^echo one\necho two/);
  assert.doesNotMatch(await screenText(page), /^one$/m);
  await dialog.getByRole('checkbox', { name: 'Ask again next time' }).uncheck();
  await dialog.getByRole('button', { name: 'Paste' }).click();
  await page.keyboard.press('Enter');
  await waitForText(page, /^three$/m);
  await page.evaluate(() => navigator.clipboard.writeText('echo four\necho five\n'));
  await choose(page, 'Paste…');
  await waitForText(page, /echo five$/);
  await page.waitForFunction(() => document.activeElement?.classList.contains('xterm-helper-textarea'));
  await page.keyboard.press('Enter');
  await waitForText(page, /^five$/m);
  assert.equal(await page.getByRole('dialog').count(), 0, 'asked no more');
  await choose(page, 'Copy what is visible');
  await page.waitForFunction(async () => /^copy-this-word-twice$/m.test(await navigator.clipboard.readText()));
});

test('without a clipboard, as over plain HTTP, copying works and pasting has a field', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.addInitScript(() => { Object.defineProperty(Navigator.prototype, 'clipboard', { get: () => undefined }); });
  await openTerminal(page, server.url);
  await page.evaluate(() => { document.addEventListener('copy', () => { globalThis.copied = getSelection().toString() || document.activeElement.value; }, true); });
  await run(page, 'echo plain-words');
  await waitForText(page, /^plain-words$/m);
  await choose(page, 'Copy what is visible');
  await page.getByText('Copied', { exact: true }).first().waitFor();
  assert.match(await page.evaluate(() => globalThis.copied), /^plain-words$/m);
  await choose(page, 'Paste…');
  const dialog = page.getByRole('dialog', { name: 'Paste' });
  await dialog.getByLabel('Text').fill('echo by-hand');
  await dialog.getByRole('button', { name: 'Paste' }).click();
  await page.keyboard.press('Enter');
  await waitForText(page, /^by-hand$/m);
});

test('searching goes through what was shown', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openTerminal(page, server.url);
  await run(page, 'clear; for n in $(seq 1 200); do echo "row $n of many"; done; echo done-$((1+1))');
  await waitForText(page, /^done-2$/m);
  await page.keyboard.press('Control+Shift+F');
  const bar = page.getByRole('search');
  await bar.getByRole('textbox').fill('row 42 of');
  await bar.getByText('1 of 1', { exact: true }).waitFor();
  await waitForText(page, /^row 42 of many$/m);
  await bar.getByRole('textbox').fill('row 1');
  await bar.getByText(/^\d+ of 111$/).waitFor();
  await page.keyboard.press('Shift+Enter');
  await bar.getByRole('textbox').fill('no such thing');
  await bar.getByText('not found').waitFor();
  await page.keyboard.press('Escape');
  await bar.waitFor({ state: 'detached' });
  assert.equal(await input(page).evaluate((field) => field === document.activeElement), true);
});

test('much output is shown to its end, and the server is told how far', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  const acks = [];
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => { if (String(payload).includes('"ack"')) acks.push(JSON.parse(String(payload)).bytes); });
  });
  await openTerminal(page, server.url);
  await run(page, 'seq 1 400000; echo end-$((40+2))');
  await waitForText(page, /^end-42$/m, 60_000);
  assert.ok(acks.length > 20, `${acks.length} acknowledgements`);
  assert.ok(acks.every((bytes, at) => at === 0 || bytes - acks[at - 1] >= 65_536));
  await run(page, 'echo alive');
  await waitForText(page, /^alive$/m);
});

test('on a phone the row of keys does what a keyboard does', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ width: 390, height: 844 });
  await openTerminal(page, server.url);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= 390), true);
  const keys = page.getByRole('group', { name: 'Keys' });
  const press = (name) => keys.getByRole('button', { name, exact: true }).click();
  await run(page, 'echo from-before');
  await waitForText(page, /^from-before$/m);
  await press('Up');
  await page.keyboard.press('Enter');
  await waitForText(page, /^from-before\n[^]*^from-before$/m);
  await input(page).focus();
  await page.keyboard.type('echo a');
  await press('Pipe');
  await page.keyboard.type('cat');
  await press('Dash');
  await press('Tilde');
  await press('Slash');
  await waitForText(page, /echo a\|cat-~\/$/);
  assert.equal(await input(page).evaluate((field) => field === document.activeElement), true, 'the keyboard stays');
  await press('Ctrl');
  assert.equal(await keys.getByRole('button', { name: 'Ctrl' }).getAttribute('aria-pressed'), 'true');
  await page.keyboard.type('c');
  await waitForText(page, /\^C/);
  assert.equal(await keys.getByRole('button', { name: 'Ctrl' }).getAttribute('aria-pressed'), 'false');
  await run(page, 'cat -v');
  await press('Esc');
  await press('Left');
  await page.keyboard.press('Enter');
  await waitForText(page, '^[^[[D');
});

test('a finger scrolls back through what was shown', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ width: 390, height: 844 });
  await openTerminal(page, server.url);
  await run(page, 'clear; for n in $(seq 1 200); do echo "row $n"; done; echo done-$((1+1))');
  await waitForText(page, /^done-2$/m);
  await page.locator('.term-place').evaluate((place) => {
    const touch = (clientY) => [new Touch({ identifier: 1, target: place, clientX: 100, clientY })];
    place.dispatchEvent(new TouchEvent('touchstart', { touches: touch(200), bubbles: true, cancelable: true }));
    for (let y = 210; y <= 500; y += 10) place.dispatchEvent(new TouchEvent('touchmove', { touches: touch(y), bubbles: true, cancelable: true }));
  });
  await waitForText(page, /^row 150$/m);
  assert.doesNotMatch(await screenText(page), /^row 200$/m);
});

test('without a password the terminal opens too, on the own network', async () => {
  const server = await startServer({ state: { ...accountFile(), enabled: false, declined: true, username: null, password_hash: null } });
  const { page } = await newContext();
  await page.goto(`${server.url}/terminal`);
  await waitForPrompt(page);
  await run(page, 'echo open');
  await waitForText(page, /^open$/m);
  const box = await page.locator('.term').boundingBox();
  assert.ok(box.y + box.height <= 800, 'also below the line that warns');
});

test('it is dark in both themes, and follows them', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ theme: 'light' });
  await openTerminal(page, server.url);
  const ground = () => page.locator('.xterm-scrollable-element').evaluate((element) => getComputedStyle(element).backgroundColor);
  assert.equal(await ground(), 'rgb(20, 25, 26)');
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.waitForFunction(() => getComputedStyle(document.querySelector('.xterm-scrollable-element')).backgroundColor === 'rgb(9, 13, 14)');
  await page.getByRole('button', { name: /^Theme/ }).click();
  await page.waitForFunction(() => getComputedStyle(document.querySelector('.xterm-scrollable-element')).backgroundColor === 'rgb(20, 25, 26)');
});

test('in Spanish', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ locale: 'es-ES', width: 390, height: 844 });
  await page.goto(`${server.url}/terminal`);
  await page.getByLabel('Usuario').fill('owner');
  await page.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Entrar', exact: true }).click();
  await waitForPrompt(page);
  await page.getByRole('button', { name: 'Más', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Cerrar esta shell…' }).click();
  const dialog = page.getByRole('dialog', { name: '¿Cerrar Shell 1?' });
  await dialog.getByText('La shell termina, y con ella lo que corra dentro.').waitFor();
  await dialog.getByRole('button', { name: 'Cerrar la shell' }).click();
  await page.getByRole('heading', { name: 'No hay ninguna shell abierta' }).waitFor();
});
