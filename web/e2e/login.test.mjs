// Signing in: the password, the second step, and the time to wait.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountFile, assertQuiet, BACKUP_CODES, fillLogin, newContext, PASSWORD, startServer, totpCode, waitForHeading, waitForTitle } from './harness.mjs';

const CODE = 'Verification code';

test('a wrong password is told beside the field, the same for a name that does not exist', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await page.goto(server.url);

  for (const name of ['owner', 'nobody']) {
    await fillLogin(page, 'wrong-Password1', name);
    await page.getByText('User name and password do not match.').waitFor();
    assert.equal(await page.getByLabel('Username').inputValue(), name);
    assert.equal(await page.evaluate(() => document.activeElement?.id), 'password');
  }
  await fillLogin(page);
  await waitForTitle(page, 'Overview');
  assertQuiet(seen, new URL(server.url).host);
});

test('signing in takes no mouse', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.goto(server.url);
  await page.getByLabel('Username').waitFor();

  await page.keyboard.type('owner');
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');

  await waitForTitle(page, 'Overview');
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.closest('header') !== null), true);
});

test('empty fields are named, and the first takes the focus', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await page.goto(server.url);
  await page.getByRole('button', { name: 'Sign in' }).click();

  await page.getByText('Type your user name.').waitFor();
  await page.getByText('Type your password.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'username');
  assert.equal(seen.requests.filter((request) => request.includes('login')).length, 0);
});

test('a password can be shown, and Caps Lock is told', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.goto(server.url);
  const field = page.getByLabel('Password', { exact: true });
  await field.fill('secret');

  await page.getByRole('button', { name: 'Show password' }).click();
  assert.equal(await field.getAttribute('type'), 'text');
  await page.getByRole('button', { name: 'Hide password' }).click();
  assert.equal(await field.getAttribute('type'), 'password');

  await field.evaluate((element) => element.dispatchEvent(new KeyboardEvent('keydown', { key: 'A', modifierCapsLock: true, bubbles: true })));
  await page.getByText('Caps Lock is on.').waitFor();
});

test('the second step sends itself at the sixth digit, and a wrong code keeps one there', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page, seen } = await newContext();
  await page.goto(server.url);
  await fillLogin(page);
  await waitForHeading(page, 'Second step');

  const field = page.getByLabel(CODE);
  const right = totpCode();
  const wrong = String((Number(right) + 1) % 1_000_000).padStart(6, '0');
  await field.pressSequentially(wrong);
  await page.getByText('That code is not right.').waitFor();
  assert.equal(await field.inputValue(), wrong, 'what was typed stays');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'code');

  await field.fill('');
  await field.pressSequentially(`${totpCode().slice(0, 3)} ${totpCode().slice(3)}`);
  await waitForTitle(page, 'Overview');
  assertQuiet(seen, new URL(server.url).host);
});

test('a code of another time tells by how much the clocks differ', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  await page.goto(server.url);
  await fillLogin(page);
  await page.getByLabel(CODE).pressSequentially(totpCode(240));

  await page.getByText(/your phone is (3|4) min.* ahead of this host \(/).waitFor();
});

test('a spent code is told with the time to the next one', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const code = totpCode();
  await server.signIn({ totp_token: code });
  const { page } = await newContext();
  await page.goto(server.url);
  await fillLogin(page);
  await page.getByLabel(CODE).pressSequentially(code);

  await page.getByText(/That code was already used\. The next one comes in \d+ s\./).waitFor();
});

test('a backup code goes into the same field, and the page counts what is left', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  await page.goto(server.url);
  await fillLogin(page);
  await page.getByLabel(CODE).pressSequentially(BACKUP_CODES[0].toLowerCase());

  await page.getByText('Backup code used; 2 are left.').waitFor();
  await page.getByText('Only 2 backup codes are left.').waitFor();
});

test('Back forgets the password', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  await page.goto(server.url);
  await fillLogin(page);
  await waitForHeading(page, 'Second step');
  await page.getByRole('button', { name: 'Back', exact: true }).click();

  assert.equal(await page.getByLabel('Password', { exact: true }).inputValue(), '');
  assert.equal(await page.getByLabel('Username').inputValue(), 'owner');
});

test('too many tries: the time runs down, what was typed stays, and the form wakes by itself', async () => {
  const server = await startServer({ state: accountFile() });
  for (let index = 0; index < 5; index += 1) {
    await server.call('POST', 'auth/login', { username: 'owner', password: 'wrong' });
  }
  const { page } = await newContext();
  await page.clock.install();
  await page.goto(server.url);
  await fillLogin(page);

  await waitForHeading(page, 'Too many tries');
  assert.match(await page.getByRole('timer').innerText(), /^(1:00|0:5\d)$/);
  await page.getByText('From your address, 127.0.0.1').waitFor();
  await page.getByText('proxmenux-monitor ban lift 127.0.0.1').waitFor();
  const before = await page.getByRole('timer').innerText();
  await page.clock.fastForward(5000);
  assert.notEqual(await page.getByRole('timer').innerText(), before);
  await page.clock.fastForward(60_000);
  await page.getByLabel('Password', { exact: true }).waitFor();
  assert.equal(await page.getByLabel('Password', { exact: true }).inputValue(), PASSWORD);
  assert.equal(await page.getByLabel('Username').inputValue(), 'owner');
});

test('the ways back in are one tap away, and what was typed is still there after', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.goto(server.url);
  await page.getByLabel('Username').fill('owner');
  await page.getByRole('button', { name: 'Locked out?' }).click();
  await waitForHeading(page, 'Locked out?');
  await page.getByText('proxmenux-monitor reset-password').waitFor();
  await page.getByRole('button', { name: 'Back to sign in' }).click();

  assert.equal(await page.getByLabel('Username').inputValue(), 'owner');
});
