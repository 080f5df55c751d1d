// The Security page: sessions, a new password, protection off.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountFile, assertQuiet, fillLogin, newContext, PASSWORD, signInThere, startServer, totpCode, BACKUP_CODES, waitForHeading, waitForTitle } from './harness.mjs';

const NEXT = 'winter-Coat9x';

async function openSecurity(page, server) {
  await signInThere(page, server.url);
  await page.getByRole('link', { name: 'Security' }).first().click();
  await waitForTitle(page, 'Security');
  await page.getByText('this one').waitFor();
}

test('the page opens with the verdict', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await openSecurity(page, server);

  await waitForHeading(page, 'Protected, not encrypted');
  await page.getByText('two-factor off').waitFor();
  await page.getByRole('link', { name: '1 session' }).click();
  assert.equal(new URL(page.url()).hash, '#sessions');
  assertQuiet(seen, new URL(server.url).host);
});

test('other sessions are shown and can be ended, one or all', async () => {
  const server = await startServer({ state: accountFile() });
  for (let index = 0; index < 3; index += 1) await server.signIn();
  const { page } = await newContext();
  await openSecurity(page, server);
  const rows = page.getByRole('region', { name: 'Sessions' }).getByRole('listitem');
  assert.equal(await rows.count(), 4);
  assert.match(await rows.first().innerText(), /Chrome on Linux\s+this one\s+127\.0\.0\.1, this host.*password.*signed in/s);

  await rows.nth(1).getByRole('button', { name: /^End session/ }).click();
  await page.getByRole('status').filter({ hasText: 'Session ended' }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll('#sessions li').length === 3);
  await page.getByRole('button', { name: 'End all others…' }).click();
  const dialog = page.getByRole('dialog', { name: 'End 2 other sessions?' });
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.equal(await rows.count(), 3);
  await page.getByRole('button', { name: 'End all others…' }).click();
  await dialog.getByRole('button', { name: 'End 2 sessions' }).click();
  await page.getByText('No other browser is signed in.').waitFor();
  assert.equal(await rows.count(), 1);
});

test('a new password: the wrong old one signs nobody out, the right one ends all other sessions', async () => {
  const server = await startServer({ state: accountFile() });
  const elsewhere = await server.signIn();
  const { page, context } = await newContext();
  await openSecurity(page, server);
  const tab = await context.newPage();
  await tab.goto(`${server.url}/profile`);
  await waitForTitle(tab, 'Profile');
  await page.getByRole('button', { name: 'Change the password' }).click();
  const dialog = page.getByRole('dialog', { name: 'Change the password' });

  await dialog.getByLabel('Current password').fill('not-The-one1');
  await dialog.getByLabel('New password', { exact: true }).fill(NEXT);
  await dialog.getByRole('button', { name: 'Change password' }).click();
  await dialog.getByText('That is not the current password.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'change-password');
  await dialog.getByLabel('Current password').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Change password' }).click();
  await page.getByRole('status').filter({ hasText: 'Password changed' }).waitFor();

  assert.equal((await server.call('GET', 'auth/profile', undefined, elsewhere)).code, 'invalid_token');
  await page.getByRole('link', { name: 'Overview' }).first().click();
  await waitForTitle(page, 'Overview');
  await tab.getByRole('link', { name: 'Security' }).first().click();
  await waitForTitle(tab, 'Security');
  await tab.getByText('this one').waitFor();
  await page.reload();
  await waitForTitle(page, 'Overview');
});

test('protection goes off with password and code, and the first question returns', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page, context } = await newContext();
  await page.goto(server.url);
  await fillLogin(page);
  await page.getByLabel('Verification code').pressSequentially(totpCode());
  await waitForTitle(page, 'Overview');
  await page.goto(`${server.url}/security`);
  await page.getByText('two-factor on').waitFor();
  const tab = await context.newPage();
  await tab.goto(`${server.url}/settings`);
  await waitForTitle(tab, 'Settings');
  await page.getByText('this one').waitFor();
  await page.getByRole('button', { name: 'Turn protection off…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Turn protection off?' });
  await dialog.getByText('1 session ends').waitFor();

  await dialog.getByRole('button', { name: 'Turn off' }).click();
  await dialog.getByText('Type your password.').waitFor();
  await dialog.getByText('Type the six digits, or a backup code.').waitFor();
  await dialog.getByLabel('Password', { exact: true }).fill('not-The-one1');
  await dialog.getByLabel('Verification code').fill(BACKUP_CODES[1]);
  await dialog.getByRole('button', { name: 'Turn off' }).click();
  await dialog.getByText('That is not the current password.').waitFor();
  assert.equal(await page.getByRole('dialog').count(), 1, 'nobody was signed out');
  await dialog.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Turn off' }).click();

  await waitForHeading(page, 'Protect Your Dashboard?');
  await waitForHeading(tab, 'Protect Your Dashboard?');
});

test('dialogs hold the focus, close on Escape, and give it back', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openSecurity(page, server);
  const opener = page.getByRole('button', { name: 'Change the password' });
  await opener.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();

  for (let index = 0; index < 12; index += 1) {
    await page.keyboard.press('Tab');
    const place = await page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest('dialog') !== null);
    assert.equal(place, true);
  }
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal(await opener.evaluate((element) => element === document.activeElement), true);
});
