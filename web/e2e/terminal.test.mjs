// The terminal: a real shell in the page, its tabs, and the way back to it.

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { test } from 'node:test';
import { accountFile, assertQuiet, newContext, PASSWORD, startServer, totpCode, waitForTitle } from './harness.mjs';
import { choose, input, openTerminal, run, screenText, sizeOfShell, startWire, tokenOf, waitForPrompt, waitForText } from './terminal.mjs';

const tab = (page, name) => page.getByRole('tab', { name, exact: true });

/** Asks for a socket by hand, and returns the status of the answer. */
function upgrade(url, { origin, path }) {
  return new Promise((resolve, reject) => {
    const request = httpRequest(new URL(path, url), {
      headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', ...(origin === undefined ? {} : { Origin: origin }) },
    });
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.end();
  });
}

test('a shell runs commands, in colour and in every script, under the page’s policy', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext({ theme: 'dark' });
  await openTerminal(page, server.url);
  assert.match(await page.title(), /^Terminal/);
  assert.equal(await input(page).evaluate((field) => field === document.activeElement), true, 'one can type at once');
  await run(page, 'ls /');
  const text = await waitForText(page, /\betc\b/);
  for (const name of ['bin', 'usr', 'proc']) assert.match(text, new RegExp(`\\b${name}\\b`));
  await run(page, "printf '\\033[38;2;255;120;40mdeep\\033[0m \\033[32mgreen\\033[0m ñandú 日本\\n' | tee /dev/null");
  await waitForText(page, /^deep green ñandú 日 ?本/m);
  const colourOf = (word) => page.locator('.xterm-rows span', { hasText: new RegExp(`^${word}$`) }).last().evaluate((span) => getComputedStyle(span).color);
  assert.equal(await colourOf('deep'), 'rgb(255, 120, 40)');
  assert.equal(await colourOf('green'), 'rgb(134, 201, 155)');
  await run(page, 'echo $TERM $COLORTERM $PROXMENUX_TERMINAL');
  await waitForText(page, /^xterm-256color truecolor monitor$/m);
  assertQuiet(seen, new URL(server.url).host);
});

test('the shell is as large as the screen, also when the window or the type changes', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ width: 1280, height: 800 });
  await openTerminal(page, server.url);
  const wide = await sizeOfShell(page, 'wide');
  await page.getByText(`${wide.cols} × ${wide.rows}`, { exact: true }).waitFor();
  assert.ok(wide.cols > 100 && wide.rows > 20, JSON.stringify(wide));
  await page.setViewportSize({ width: 800, height: 600 });
  const small = await sizeOfShell(page, 'small');
  assert.ok(small.cols < wide.cols - 30 && small.rows < wide.rows - 5, JSON.stringify(small));
  await choose(page, 'Larger type');
  await choose(page, 'Larger type');
  await choose(page, 'Larger type');
  const large = await sizeOfShell(page, 'large');
  assert.ok(large.cols < small.cols && large.rows < small.rows, JSON.stringify(large));
  await page.getByRole('button', { name: 'New shell' }).click();
  await waitForPrompt(page);
  await choose(page, 'Smaller type');
  const other = await sizeOfShell(page, 'other');
  assert.ok(other.cols > large.cols, JSON.stringify(other));
  await page.keyboard.press('Control+Shift+ArrowLeft');
  assert.deepEqual(await sizeOfShell(page, 'first'), other, 'also the shell that was not shown');
  await page.reload();
  await waitForText(page, /^first=/m);
  assert.deepEqual(await sizeOfShell(page, 'kept'), other, 'the size of the type is remembered');
});

test('several shells: tabs by pointer and keyboard, names, and closing asks first', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openTerminal(page, server.url);
  await run(page, 'here=first');
  await page.getByRole('button', { name: 'New shell' }).click();
  await waitForPrompt(page);
  assert.equal(await tab(page, 'Shell 2').getAttribute('aria-selected'), 'true');
  await run(page, 'here=second');

  await page.keyboard.press('Control+Shift+F6');
  await page.waitForFunction(() => document.activeElement?.getAttribute('role') === 'tab');
  await page.keyboard.press('F2');
  await page.getByRole('dialog').getByLabel('Name').fill('upgrade');
  await page.keyboard.press('Enter');
  await tab(page, 'upgrade').waitFor();
  await page.keyboard.press('ArrowLeft');
  assert.equal(await tab(page, 'Shell 1').getAttribute('aria-selected'), 'true');
  await page.keyboard.press('Enter');
  await page.keyboard.type('echo $here\n');
  await waitForText(page, /^first$/m);
  await page.keyboard.press('Control+Shift+ArrowRight');
  await page.keyboard.type('echo $here\n');
  await waitForText(page, /^second$/m);

  await tab(page, 'upgrade').focus();
  await page.keyboard.press('Delete');
  const asked = page.getByRole('dialog', { name: 'Close upgrade?' });
  await asked.getByText('The shell ends, and with it whatever runs in it.').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await page.getByRole('tab').count(), 2);
  await choose(page, 'Close this shell…');
  await asked.getByRole('button', { name: 'Close shell' }).click();
  await tab(page, 'upgrade').waitFor({ state: 'detached' });
  assert.equal(await page.getByRole('tab').count(), 1);
  const token = await server.signIn();
  const deadline = Date.now() + 5000;
  while ((await server.call('GET', 'terminal/health', undefined, token)).terminals !== 1) {
    assert.ok(Date.now() < deadline, 'the closed shell has ended');
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  await waitForText(page, /^first$/m);
});

test('leaving the page for another one ends nothing, and a reload comes back to the same shells', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openTerminal(page, server.url);
  await run(page, 'kept=yes; echo set');
  await waitForText(page, /^set$/m);
  const rail = page.getByRole('navigation', { name: 'Main', exact: true });
  await rail.getByRole('link', { name: 'Overview', exact: true }).click();
  await waitForTitle(page, 'Overview');
  await rail.getByRole('link', { name: 'Terminal' }).click();
  await run(page, 'echo still $kept');
  await waitForText(page, /^still yes$/m);
  assert.equal(await page.getByRole('tab').count(), 1);

  await page.reload();
  await waitForText(page, /^still yes$/m);
  await run(page, 'echo again $kept');
  await waitForText(page, /^again yes$/m);
});

test('what a shell asked long ago is not answered again', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openTerminal(page, server.url);
  // It asks what the terminal is, and takes the answer.
  await run(page, "printf '\\033[c\\033[6n'; sleep 0.5; read -t 0.2 -N 40 -s answer; printf '%q\\n' \"$answer\"");
  const before = await waitForText(page, /\\E\[\?1;2c.*\n.*[#$]$/);
  await page.reload();
  await waitForText(page, /\\E\[\?1;2c/);
  await new Promise((resolve) => { setTimeout(resolve, 1000); });
  assert.equal(await screenText(page), before, 'nothing was typed');
  await run(page, 'echo fine');
  await waitForText(page, /^fine$/m);
});

test('a flood is stopped by Ctrl+C', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openTerminal(page, server.url);
  await run(page, 'yes flood');
  await waitForText(page, /^flood\nflood$/m);
  await new Promise((resolve) => { setTimeout(resolve, 1500); });
  await page.keyboard.press('Control+c');
  await waitForText(page, /\^C\n.*[#$] ?$/, 5000);
  await run(page, 'echo calm');
  await waitForText(page, /^calm$/m);
});

test('a shell that ends says how, and offers a new one', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openTerminal(page, server.url);
  await run(page, 'echo last words; exit 3');
  await page.locator('.notes').getByText('This shell has ended with status 3.').waitFor();
  assert.match(await screenText(page), /^last words$/m);
  await page.locator('.notes').getByRole('button', { name: 'New shell' }).click();
  await waitForPrompt(page);
  assert.doesNotMatch(await screenText(page), /last words/);
  await run(page, 'exit');
  await page.getByRole('button', { name: 'Close tab' }).click();
  await page.getByRole('heading', { name: 'No shell is open' }).waitFor();
  await page.getByRole('button', { name: 'Open a shell' }).click();
  await waitForPrompt(page);
});

test('after a broken wire the page comes back to the same shell, with what was shown', async () => {
  const server = await startServer({ state: accountFile() });
  const wire = await startWire(server.url);
  try {
    const { page, seen } = await newContext();
    await openTerminal(page, wire.url);
    await run(page, 'kept=yes; for n in 1 2 3; do echo line-$n; done');
    await waitForText(page, /^line-3$/m);
    wire.cut();
    await page.getByText('Connection lost, trying again').first().waitFor();
    await page.getByText(/^shell kept \d+ s$/).waitFor();
    await new Promise((resolve) => { setTimeout(resolve, 2500); });
    wire.mend();
    await page.getByText('Connected again to the same shell').first().waitFor();
    await run(page, 'echo still $kept');
    const text = await waitForText(page, /^still yes$/m);
    assert.equal(text.match(/^line-3$/gm)?.length, 1, 'what was shown is there once');
    assert.deepEqual(seen.errors.filter((error) => !/WebSocket connection|net::ERR/.test(error)), []);
  } finally {
    wire.close();
  }
});

test('a stopped service ends its shells, and the page says so', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openTerminal(page, server.url);
  await server.kill();
  await page.getByText('Connection lost, trying again').first().waitFor();
  await server.start();
  await page.getByText('This shell has ended. The connection was away too long, or the service was restarted.').first().waitFor();
  await page.locator('.notes').getByRole('button', { name: 'New shell' }).click();
  await waitForPrompt(page);
});

test('another window takes a shell over, and this one can take it back', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  const token = tokenOf(page);
  const ticket = page.waitForResponse('**/api/terminal/ticket');
  await openTerminal(page, server.url);
  const { terminal_id: id } = await (await ticket).json();
  const other = await server.call('POST', 'terminal/ticket', { resume: id }, await token);
  // The other window is this page, by hand.
  await page.evaluate((given) => { globalThis.other = new WebSocket(`${location.origin.replace('http', 'ws')}/ws/terminal?ticket=${given}`); }, other.ticket);
  await page.getByText('Another window shows this shell now.').first().waitFor();
  await page.getByRole('button', { name: 'Show it here' }).click();
  // Until the way is open its tab says more than the name.
  await tab(page, 'Shell 1').waitFor();
  await run(page, 'echo here');
  await waitForText(page, /^here$/m);
  assert.equal(await page.evaluate(() => globalThis.other.readyState), 3, 'the other one is closed');
});

test('a foreign page is refused, and so is a ticket that was used', async () => {
  const server = await startServer({ state: accountFile() });
  const token = await server.signIn();
  const path = async () => `/ws/terminal?ticket=${(await server.call('POST', 'terminal/ticket', {}, token)).ticket}&cols=80&rows=24`;
  assert.equal(await upgrade(server.url, { origin: 'https://example.net', path: await path() }), 403);
  assert.equal(await upgrade(server.url, { origin: server.url, path: '/ws/terminal?ticket=none' }), 401);
  assert.equal(await upgrade(server.url, { origin: server.url, path: '/ws/terminal' }), 401);
  const once = await path();
  assert.equal(await upgrade(server.url, { origin: server.url, path: once }), 101);
  assert.equal(await upgrade(server.url, { origin: server.url, path: once }), 401);
});

test('the end of the session ends the shell, and nothing of it stays in the page', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openTerminal(page, server.url);
  await run(page, 'echo secret-of-mine');
  await waitForText(page, /^secret-of-mine$/m);
  const { sessions } = await server.call('GET', 'auth/sessions', undefined, await server.signIn());
  const mine = sessions.find(({ current }) => !current);
  await server.call('DELETE', `auth/sessions/${mine.id}`, undefined, await server.signIn());
  await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.textContent.includes('secret-of-mine')), false);
});

test('with a second factor that is not fresh the code is asked for first', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  // As twelve hours later: the server itself still takes the sign-in's code.
  await page.route('**/api/terminal/ticket', async (route) => {
    const { password } = route.request().postDataJSON();
    if (password === PASSWORD) return route.continue();
    const refusal = password === undefined ? { code: 'step_up_required', requires_totp: true } : { code: 'reauthentication_failed', field: 'password' };
    return route.fulfill({ status: 403, json: { success: false, message: 'confirm', ...refusal } });
  });
  await openTerminal(page, server.url, { waits: false, code: totpCode() });
  const dialog = page.getByRole('dialog', { name: 'Open the shell' });
  await dialog.getByText('A root shell wants a fresh second factor.').waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('heading', { name: 'Confirm who you are' }).waitFor();
  await page.getByRole('button', { name: 'Confirm…' }).click();
  await dialog.getByLabel('Password', { exact: true }).fill('not-The-one1');
  await dialog.getByLabel('Verification code').fill(totpCode(30));
  await dialog.getByRole('button', { name: 'Open', exact: true }).click();
  await dialog.getByText('That is not the current password.').waitFor();
  await dialog.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Open', exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.unroute('**/api/terminal/ticket');
  await waitForPrompt(page);
  await run(page, 'echo in');
  await waitForText(page, /^in$/m);
});

test('a locked shell is covered until it is confirmed who looks', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  let lock;
  await page.routeWebSocket('**/ws/terminal*', (socket) => {
    const far = socket.connectToServer();
    lock = () => {
      void socket.close({ code: 4003, reason: 'locked' });
      void far.close({ code: 3000 });
    };
  });
  await openTerminal(page, server.url);
  await run(page, 'kept=yes; echo secret-of-mine');
  await waitForText(page, /^secret-of-mine$/m);
  lock();
  await page.getByRole('heading', { name: 'Locked: no key for a while' }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.textContent.includes('secret-of-mine')), false);
  await page.getByRole('button', { name: 'Confirm…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Open the shell' });
  await dialog.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Open', exact: true }).click();
  await waitForText(page, /^secret-of-mine$/m);
  await run(page, 'echo still $kept');
  await waitForText(page, /^still yes$/m);
});
