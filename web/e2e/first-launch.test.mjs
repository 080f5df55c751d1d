// A new host: the first question, the account, and what happens beside it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertQuiet, newContext, PASSWORD, pngOf, startServer, USERNAME, waitForHeading, waitForTitle } from './harness.mjs';

const QUESTION = 'Protect Your Dashboard?';
const YES = 'Yes, Setup Password';
const NO = 'No, Continue Without Protection';

async function fillSetup(page) {
  await page.getByLabel('Username').fill(USERNAME);
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
}

test('the first question stands alone, with nothing of the dashboard behind it', async () => {
  const server = await startServer();
  const { page, seen } = await newContext();

  await page.goto(server.url);

  const dialog = page.getByRole('dialog', { name: QUESTION });
  await dialog.waitFor();
  assert.deepEqual(await dialog.getByRole('button').allInnerTexts(), [YES, NO]);
  assert.match(await page.title(), /^Protect Your Dashboard\? · /);
  assert.equal(await page.getByRole('navigation').count(), 0);
  const asked = seen.requests.filter((request) => request.includes('/api/'));
  assert.deepEqual([...new Set(asked)].toSorted(), ['GET /api/auth/status', 'GET /api/system-info']);
  assertQuiet(seen, new URL(server.url).host);
});

test('an account is made with name, picture and password, and one is signed in at once', async () => {
  const server = await startServer();
  const { page, seen } = await newContext();
  await page.goto(server.url);
  await page.getByRole('button', { name: YES }).click();
  await waitForHeading(page, 'Set up your password');

  await fillSetup(page);
  await page.getByLabel('Display name').fill('Owner at home');
  await page.getByLabel('Choose image').setInputFiles({ name: 'me.png', mimeType: 'image/png', buffer: pngOf(40, 120, 90) });
  assert.equal(await page.locator('form img').count(), 2, 'the picture is previewed large and in the header');
  await page.getByRole('button', { name: 'Save and sign in' }).click();

  await waitForTitle(page, 'Overview');
  const account = page.getByRole('button', { name: 'Account: Owner at home' });
  await account.locator('img').waitFor();
  assert.equal(new URL(page.url()).pathname, '/');
  await account.click();
  assert.match(await page.getByRole('menu').locator('..').innerText(), /Owner at home\s+owner/);
  assert.deepEqual(seen.requests.filter((request) => /setup|profile/.test(request)).slice(0, 3),
    ['POST /api/auth/setup', 'PUT /api/auth/profile', 'POST /api/auth/profile/avatar']);
  await page.reload();
  await page.getByRole('button', { name: 'Account: Owner at home' }).locator('img').waitFor();
  assertQuiet(seen, new URL(server.url).host);
});

test('the rules are ticked while one types, and the first wrong field takes the focus', async () => {
  const server = await startServer();
  const { page } = await newContext();
  await page.goto(`${server.url}/setup`);
  const rules = page.getByRole('list', { name: 'Rules for the password' });
  await rules.waitFor();
  const states = async () => (await rules.getByRole('listitem').allTextContents()).map((text) => /: (met|not met|not yet)/.exec(text)?.[1]);

  await page.getByLabel('Password', { exact: true }).fill('short');
  assert.deepEqual(await states(), ['not yet', 'not yet', 'met', 'met']);
  await page.getByLabel('Password', { exact: true }).fill('Qwerty123456');
  await page.waitForFunction(() => /most common passwords: not yet/.test(document.querySelector('#password-rules')?.textContent ?? ''));
  await page.getByLabel('Username').fill('harbour');
  await page.getByLabel('Password', { exact: true }).fill('Harbour-1');
  await page.getByLabel('Username').focus();
  assert.deepEqual(await states(), ['not met', 'met', 'met', 'not met'], 'red only after leaving the field');
  await page.getByLabel('Username').fill('');
  await page.getByRole('button', { name: 'Save and sign in' }).click();

  await page.getByText('Choose a user name.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'username');
  await fillSetup(page);
  assert.deepEqual(await states(), ['met', 'met', 'met', 'met']);
});

test('the server has the last word on a password, and its rule turns red', async () => {
  const server = await startServer();
  const { page } = await newContext();
  await page.route('**/api/auth/setup', (route) => route.fulfill({ status: 400, json: { success: false, error: 'weak', message: 'm', code: 'weak_password', field: 'password', rules: ['common'] } }));
  await page.goto(`${server.url}/setup`);
  await fillSetup(page);
  await page.getByRole('button', { name: 'Save and sign in' }).click();

  await page.getByText('This password breaks a rule below.').waitFor();
  assert.match(await page.getByRole('list', { name: 'Rules for the password' }).textContent(), /most common passwords: not met/);
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'password');
  assert.equal(await page.getByLabel('Password', { exact: true }).inputValue(), PASSWORD, 'what was typed stays');
});

test('a picture that is refused does not cost the account', async () => {
  const server = await startServer();
  const { page } = await newContext();
  await page.goto(`${server.url}/setup`);
  await fillSetup(page);
  await page.getByLabel('Choose image').setInputFiles({ name: 'torn.png', mimeType: 'image/png', buffer: pngOf(1, 2, 3).subarray(0, 60) });
  await page.getByRole('button', { name: 'Save and sign in' }).click();

  const notice = page.getByRole('status').filter({ hasText: 'Your account is set and you are signed in.' });
  await notice.getByText('The image could not be saved').waitFor();
  await notice.getByRole('link', { name: 'Finish it in your profile' }).click();
  await waitForHeading(page, 'Profile');
});

test('too large a picture is refused before it is sent', async () => {
  const server = await startServer();
  const { page, seen } = await newContext();
  await page.goto(`${server.url}/setup`);
  await page.getByLabel('Choose image').setInputFiles({ name: 'big.png', mimeType: 'image/png', buffer: Buffer.alloc(2 * 1024 * 1024 + 1) });

  await page.getByText('The image is larger than 2 MB.').waitFor();
  assert.equal(seen.requests.filter((request) => request.includes('avatar')).length, 0);
});

test('without protection the line stays on every page, and leads to a password', async () => {
  const server = await startServer();
  const { page, seen } = await newContext();
  await page.goto(server.url);
  await page.getByRole('button', { name: NO }).click();

  const line = page.getByText('No password: everyone on your network can read and change this host.');
  await line.waitFor();
  for (const path of ['/', '/security', '/settings']) {
    await page.goto(server.url + path);
    await line.waitFor();
    assert.equal(await page.getByRole('dialog').count(), 0, 'the question never returns');
  }
  assert.equal(await page.getByRole('button', { name: /^Account/ }).count(), 0);
  await page.goto(`${server.url}/security`);
  await waitForHeading(page, 'Not protected');
  await page.getByRole('region', { name: 'Not protected' }).getByRole('link', { name: 'Set a password' }).click();
  await waitForHeading(page, 'Set up your password');
  await fillSetup(page);
  await page.getByRole('button', { name: 'Save and sign in' }).click();
  await page.getByRole('button', { name: 'Account: owner' }).waitFor();
  assert.equal(await line.count(), 0);
  assertQuiet(seen, new URL(server.url).host);
});

test('of two people at once one wins, and the other learns it', async () => {
  const server = await startServer();
  const { page } = await newContext();
  await page.goto(`${server.url}/setup`);
  await fillSetup(page);
  const winner = await server.call('POST', 'auth/setup', { username: 'first', password: 'winter-Coat9x' });
  assert.equal(winner.success, true);
  await page.getByRole('button', { name: 'Save and sign in' }).click();

  await waitForHeading(page, 'Someone was faster');
  await page.getByText('proxmenux-monitor reset-password').waitFor();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await waitForTitle(page, 'Sign in');
});

test('where a claim code is asked for, both answers need it', async () => {
  const server = await startServer({ settings: 'setup = "code"\n' });
  const { page } = await newContext();
  await page.goto(server.url);
  const field = page.getByLabel('Claim code');
  await field.waitFor();
  assert.equal(await page.getByRole('button', { name: YES }).isDisabled(), true);

  await field.fill('zzzzzzzzzzzz');
  await page.getByRole('button', { name: NO }).click();
  await page.getByText('That is not the claim code.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'claim');

  await field.fill(server.claimCode());
  await page.getByRole('button', { name: YES }).click();
  await fillSetup(page);
  await page.getByRole('button', { name: 'Save and sign in' }).click();
  await page.getByRole('button', { name: 'Account: owner' }).waitFor();
});
