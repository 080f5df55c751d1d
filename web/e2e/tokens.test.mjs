// API access tokens on the Security page: make one, use it, rotate it, revoke it.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { accountFile, assertQuiet, fillLogin, PASSWORD, startServer, waitForTitle } from './harness.mjs';
import { callWith, clipboardOf, contextWithClipboard, makeToken, openSecurity, row, takeToken } from './tokens.mjs';

test('a token is made, shown once, copied, and its first call turns the light green', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await contextWithClipboard();
  await openSecurity(page, server);
  await page.getByText('No tokens yet').waitFor();
  const made = await makeToken(page, { name: 'ha-bridge', networks: '127.0.0.1, 192.0.2.0/24' });
  await made.getByText(/^read_only · expires .* · only from 127\.0\.0\.1, 192\.0\.2\.0\/24$/).waitFor();
  const light = made.getByRole('status').filter({ hasText: 'call' });
  assert.equal(await light.innerText(), 'Waiting for the first call');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent?.includes('Copy token')), true);

  await made.getByRole('img', { name: /^Hidden token, ends in / }).waitFor();
  await made.getByRole('button', { name: 'Copy token' }).click();
  await made.getByText('Copied').first().waitFor();
  const token = await clipboardOf(page);
  assert.match(token, /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.equal((await page.content()).includes(token), false, 'veiled until it is revealed');
  await made.getByRole('button', { name: 'Reveal' }).click();
  await made.getByText(token, { exact: true }).waitFor();
  assert.equal(await callWith(server, token, 'system'), 200);
  await made.getByText('First call received').waitFor();
  await made.getByText(/^From 127\.0\.0\.1, .*(?:now|second)/).waitFor();
  await made.getByRole('button', { name: 'Done' }).click();

  assert.equal((await page.content()).includes(token), false, 'forgotten on leaving');
  assert.match(await row(page, 'ha-bridge').innerText(), new RegExp(`…${token.slice(-4)}.*read_only.*only from 127\\.0\\.0\\.1, 192\\.0\\.2\\.0/24.*127\\.0\\.0\\.1.*(?:in 11 months|in 1 year|next year).*Active`, 's'));
  await page.getByRole('link', { name: '1 token' }).click();
  assert.equal(new URL(page.url()).hash, '#tokens');
  assert.equal(seen.requests.some((request) => request.includes(token)), false, 'never in an address');
  assertQuiet(seen, new URL(server.url).host);
});

test('a call beyond its right is refused, and the light says why', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await openSecurity(page, server);
  const made = await makeToken(page, { name: 'prometheus', scope: 'metrics' });
  await made.getByRole('button', { name: 'Copy token' }).click();
  const token = await clipboardOf(page);
  await made.getByRole('tab', { name: 'Home Assistant' }).click();
  await made.getByText('This needs read_only. A token with metrics is refused.').waitFor();
  await page.evaluate(() => {
    globalThis.said = [];
    const light = [...document.querySelectorAll('dialog [role="status"]')].find((element) => element.textContent?.includes('first call'));
    new MutationObserver(() => { globalThis.said.push(light.textContent); }).observe(light, { characterData: true, childList: true, subtree: true });
  });

  assert.equal(await callWith(server, token, 'system'), 403);
  await made.getByText('A call came and was refused').waitFor();
  await made.getByText(/metrics does not reach what was asked for/).waitFor();
  await page.waitForTimeout(4000);
  assert.deepEqual(await page.evaluate(() => globalThis.said), ['A call came and was refused'], 'said once');
  await made.getByRole('button', { name: 'Done' }).click();
  await page.getByText(/^Refused .* from 127\.0\.0\.1: beyond its right$/).filter({ visible: true }).waitFor();
  assert.equal(await callWith(server, token, 'openapi.json'), 200);
});

test('a call from elsewhere is refused, and the light names the networks', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await openSecurity(page, server);
  const made = await makeToken(page, { name: 'ha-bridge', networks: '192.0.2.0/24' });
  await made.getByRole('button', { name: 'Copy token' }).click();

  assert.notEqual(await callWith(server, await clipboardOf(page), 'system'), 200);
  await made.getByText(/127\.0\.0\.1 is not in 192\.0\.2\.0\/24\. Call from there, or make a token that allows it\./).waitFor();
});

test('a revoked token fails on its next request, and is folded away', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await openSecurity(page, server);
  const token = await takeToken(page, await makeToken(page, { name: 'ha-bridge' }));
  assert.equal(await callWith(server, token, 'system'), 200);
  await page.reload();

  await row(page, 'ha-bridge').getByRole('button', { name: 'Revoke… ha-bridge' }).click();
  const dialog = page.getByRole('dialog', { name: 'Revoke ha-bridge?' });
  await dialog.getByText(/^Last used .* by 127\.0\.0\.1: what runs there stops\.$/).waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.equal(await callWith(server, token, 'system'), 200);
  await row(page, 'ha-bridge').getByRole('button', { name: 'Revoke… ha-bridge' }).click();
  await dialog.getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('status').filter({ hasText: 'Token revoked: ha-bridge' }).waitFor();

  assert.equal(await callWith(server, token, 'system'), 401);
  assert.equal(await page.getByRole('table', { name: 'API Access Tokens' }).count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'tokens-h');
  await page.getByRole('button', { name: 'Show 1 revoked' }).click();
  assert.match(await row(page, 'ha-bridge').innerText(), /Revoked/);
  assert.equal(await row(page, 'ha-bridge').getByRole('button').count(), 0);
});

test('a rotated token goes on for a day, and the page tells who still uses it', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await openSecurity(page, server);
  const old = await takeToken(page, await makeToken(page, { name: 'homepage', networks: '127.0.0.0/8' }));
  await row(page, 'homepage').getByRole('button', { name: 'Rotate… homepage' }).click();
  const dialog = page.getByRole('dialog', { name: 'Rotate homepage' });
  await dialog.getByRole('radio', { name: 'Now' }).check();
  await dialog.getByText('Its next request is refused.').waitFor();
  await dialog.getByRole('radio', { name: '24 h' }).check();
  await dialog.getByText(/^It goes on until/).waitFor();
  await dialog.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Rotate' }).click();

  const made = page.getByRole('dialog', { name: 'Token for homepage' });
  await made.getByText(/^The old token ends (?:tomorrow|in 23 hours|in 24 hours), on /).waitFor();
  const next = await takeToken(page, made);
  assert.notEqual(next, old);
  // Uses are noted by the second.
  await page.waitForTimeout(1100);
  assert.deepEqual([await callWith(server, old, 'system'), await callWith(server, next, 'system')], [200, 200]);
  await page.reload();
  const rows = page.getByRole('region', { name: 'API Access Tokens' }).getByRole('row').filter({ hasText: 'homepage' });
  assert.match(await rows.nth(0).innerText(), new RegExp(`…${next.slice(-4)}.*Active`, 's'), 'the newest first');
  assert.match(await rows.nth(1).innerText(), new RegExp(`…${old.slice(-4)}.*Ends (?:tomorrow|in 2)`, 's'));
  await page.getByText('Another has taken its place; 127.0.0.1 still uses this one.').filter({ visible: true }).waitFor();
  assert.equal(await rows.nth(1).getByRole('button', { name: /^Rotate/ }).count(), 0);
});

test('rotated with no overlap, the old one has ended at once', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await openSecurity(page, server);
  const old = await takeToken(page, await makeToken(page, { name: 'homepage' }));
  await row(page, 'homepage').getByRole('button', { name: 'Rotate… homepage' }).click();
  const dialog = page.getByRole('dialog', { name: 'Rotate homepage' });
  await dialog.getByRole('radio', { name: 'Now' }).check();
  await dialog.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Rotate' }).click();

  const made = page.getByRole('dialog', { name: 'Token for homepage' });
  await made.getByText('The old token has ended.').waitFor();
  const next = await takeToken(page, made);
  assert.deepEqual([await callWith(server, old, 'system'), await callWith(server, next, 'system')], [401, 200]);
  await page.getByRole('button', { name: 'Show 1 revoked' }).click();
  assert.match(await row(page, `…${old.slice(-4)}`).innerText(), /Replaced|Revoked/);
});

test('after the secret was changed tokens wear the badge, and are made anew with what they had', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await openSecurity(page, server);
  const old = await takeToken(page, await makeToken(page, { name: 'uptime-kuma', scope: 'operator', networks: '127.0.0.0/8\n2001:db8::7' }));
  const state = JSON.parse(server.readState());
  server.writeState(JSON.stringify({ ...state, jwt_secret: randomBytes(48).toString('base64url') }, null, 2));
  await page.getByText('Your session has ended').waitFor({ timeout: 30_000 });
  await fillLogin(page);

  await row(page, 'uptime-kuma').getByText('Invalid — regenerate', { exact: true }).waitFor();
  await page.getByText('uptime-kuma was signed with an earlier secret and is refused.').waitFor();
  await page.getByRole('list').getByRole('button', { name: 'Regenerate… uptime-kuma' }).click();
  const form = page.getByRole('dialog', { name: 'Regenerate uptime-kuma' });
  assert.equal(await form.getByLabel('Name').inputValue(), 'uptime-kuma');
  assert.equal(await form.getByRole('radio', { name: 'operator' }).isChecked(), true);
  assert.deepEqual((await form.getByLabel('Only from').inputValue()).split('\n').toSorted(), ['127.0.0.0/8', '2001:db8::7']);
  await form.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await form.getByRole('button', { name: 'Make token' }).click();
  const made = page.getByRole('dialog', { name: 'Token for uptime-kuma' });
  await made.getByText('The old token is revoked.').waitFor();
  const next = await takeToken(page, made);

  assert.deepEqual([await callWith(server, old, 'system'), await callWith(server, next, 'system')], [401, 200]);
  assert.equal(await page.getByText('Invalid — regenerate').count(), 0);
  await page.getByRole('button', { name: 'Show 1 revoked' }).waitFor();
});

test('a token that is not copied is not lost by accident', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await page.goto(server.url);
  await fillLogin(page);
  await waitForTitle(page, 'Overview');
  await page.getByRole('link', { name: 'Security' }).first().click();
  const made = await makeToken(page, { name: 'ha-bridge' });
  const warning = made.getByText('The token is not copied, and it is shown only here.');

  await page.keyboard.press('Escape');
  await warning.waitFor();
  await made.getByRole('button', { name: 'Copy token' }).last().click();
  await warning.waitFor({ state: 'detached' });
  await page.keyboard.press('Escape');
  await made.waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'tokens-h', 'what opened the dialog stood in the empty list');

  const second = await makeToken(page, { name: 'second' });
  await page.goBack();
  await second.getByText('The token is not copied, and it is shown only here.').waitFor();
  assert.equal(new URL(page.url()).pathname, '/security');
  const asked = page.waitForEvent('dialog');
  const leaving = page.close({ runBeforeUnload: true });
  const question = await asked;
  assert.equal(question.type(), 'beforeunload');
  await question.dismiss();
  await leaving;
  await second.getByRole('button', { name: 'Leave without it' }).click();
  await second.waitFor({ state: 'detached' });
  await row(page, 'second').getByText('Not used yet').waitFor();
});
