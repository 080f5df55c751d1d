// Confirming who one is: one dialog for all that needs it, and a refusal in it is never a sign-out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAccessible, LOOKS } from './axe.mjs';
import { assertFocus, confirm, openSecurity, toSecurity } from './factors.mjs';
import { accountFile, assertQuiet, BACKUP_CODES, fillLogin, newContext, PASSWORD, startServer, totpCode, waitForTitle } from './harness.mjs';

const CODE = 'Verification code';

/** Signs in with a backup code and opens the question for ten new ones. */
async function askForCodes(page, server) {
  await page.goto(server.url);
  await fillLogin(page);
  await page.getByLabel(CODE).pressSequentially(BACKUP_CODES[0]);
  await waitForTitle(page, 'Overview');
  await toSecurity(page);
  await page.getByRole('region', { name: 'Two-factor' }).getByRole('button', { name: 'Make ten new…' }).click();
  return page.getByRole('dialog', { name: 'Make ten new backup codes?' });
}

test('a wrong password stays in the dialog, beside its field, and signs nobody out', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page, seen } = await newContext();
  const dialog = await askForCodes(page, server);

  await dialog.getByRole('button', { name: 'Make ten new', exact: true }).click();
  await dialog.getByText('Type your password.').waitFor();
  assert.equal(seen.requests.filter((request) => request.endsWith('backup-codes')).length, 0);
  await confirm(dialog, 'Make ten new', { password: 'not-The-one1' });
  await dialog.getByText('That is not the current password.').waitFor();
  await assertFocus(page, 'ask-renew-password');
  assert.equal(await dialog.getByLabel(CODE).count(), 0, 'a code was given a moment ago');
  await dialog.getByRole('button', { name: 'Show password' }).click();
  assert.equal(await dialog.getByLabel('Password', { exact: true }).inputValue(), 'not-The-one1');
  await confirm(dialog, 'Make ten new');
  await page.getByRole('dialog', { name: 'Ten new backup codes', exact: true }).waitFor();
  assertQuiet(seen, new URL(server.url).host);
});

test('the code is asked when the server wants it, and is sent as soon as it is whole', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  // The page believes the code to be fresh; the server does not.
  let asked = 0;
  await page.route('**/api/auth/totp/backup-codes', async (route) => {
    asked += 1;
    if (route.request().postDataJSON().totp_code !== undefined) return route.continue();
    return route.fulfill({ status: 403, json: { success: false, code: 'code_required', requires_totp: true, message: 'a code is needed' } });
  });
  const dialog = await askForCodes(page, server);
  await confirm(dialog, 'Make ten new');
  await dialog.getByText('A code from your authenticator app is needed too.').waitFor();
  await assertFocus(page, 'ask-renew-code');
  assert.equal(await dialog.getByRole('alert').count(), 0, 'a missing code is no fault');

  const right = totpCode();
  await page.keyboard.type(String((Number(right) + 1) % 1_000_000).padStart(6, '0'));
  await dialog.getByText('That code is not right. Type the one the app shows now.').waitFor();
  await assertFocus(page, 'ask-renew-code');
  await page.keyboard.type(totpCode());
  await page.getByRole('dialog', { name: 'Ten new backup codes', exact: true }).waitFor();
  assert.equal(asked, 3);
});

test('without a fresh code the field is there from the start; a spent one says when the next comes', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  await page.route('**/api/auth/status', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), second_factor_fresh: false } });
  });
  const spent = totpCode();
  await server.signIn({ totp_token: spent });
  const dialog = await askForCodes(page, server);
  await confirm(dialog, 'Make ten new', { code: spent });

  await dialog.getByText(/That code was already used\. The next one comes in \d+ s\./).waitFor();
  await dialog.getByLabel(CODE).fill(BACKUP_CODES[1]);
  await dialog.getByRole('button', { name: 'Make ten new', exact: true }).click();
  await page.getByRole('dialog', { name: 'Ten new backup codes', exact: true }).waitFor();
});

test('too many tries: the time runs down in the dialog, and the button wakes by itself', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  const dialog = await askForCodes(page, server);
  for (let tries = 0; tries < 5; tries += 1) {
    await confirm(dialog, 'Make ten new', { password: `not-The-one${tries}` });
    await dialog.getByText('That is not the current password.').waitFor();
    await page.waitForFunction(() => document.querySelector('dialog [type="submit"]')?.ariaBusy !== 'true');
  }
  await confirm(dialog, 'Make ten new');
  await dialog.getByText(/^Too many tries\. You can try again in (1:00|0:5\d)\.$/).waitFor();
  const submit = dialog.getByRole('button', { name: 'Make ten new', exact: true });
  assert.equal(await submit.isDisabled(), true);
  await page.keyboard.press('Escape');

  // Another refusal, of two seconds.
  await page.route('**/api/auth/totp/backup-codes', (route) => route.fulfill({ status: 429, json: { success: false, code: 'too_many_attempts', message: 'wait', retry_after: 2 } }), { times: 1 });
  await page.getByRole('region', { name: 'Two-factor' }).getByRole('button', { name: 'Make ten new…' }).click();
  await confirm(dialog, 'Make ten new');
  await dialog.getByText(/^Too many tries\. You can try again in 0:0\d\.$/).waitFor();
  await page.waitForFunction(() => document.querySelector('dialog [type="submit"]')?.disabled === false);
  assert.equal(await dialog.getByLabel('Password', { exact: true }).inputValue(), PASSWORD, 'what was typed stays');
});

test('the first set-up asks for the password where the sign-in is not fresh', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openSecurity(page, server.url);
  await page.route('**/api/auth/totp/setup', (route) => route.fulfill({ status: 403, json: { success: false, code: 'reauthentication_failed', field: 'password', message: 'confirm' } }), { times: 1 });
  await page.getByRole('button', { name: 'Turn on two-factor…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Turn on two-factor' });
  await dialog.getByText('You signed in a while ago').waitFor();
  assert.equal(await dialog.getByRole('alert').count(), 0);
  await confirm(dialog, 'Continue');
  await dialog.getByRole('img', { name: 'QR code for the authenticator app' }).waitFor();
});

test('silence in the middle keeps the dialog and what was typed', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  const dialog = await askForCodes(page, server);
  await page.route('**/api/auth/totp/backup-codes', (route) => route.abort(), { times: 1 });
  await confirm(dialog, 'Make ten new');
  await dialog.getByText('The host did not answer.').waitFor();
  await dialog.getByRole('button', { name: 'Make ten new', exact: true }).click();
  await page.getByRole('dialog', { name: 'Ten new backup codes', exact: true }).waitFor();
});

for (const { theme, width } of LOOKS) {
  test(`axe finds nothing in the dialogs, ${theme}, ${width} px`, async () => {
    const server = await startServer({ state: accountFile({ totp: true }) });
    const { page } = await newContext({ theme, width, height: 2000, bypassCSP: true });
    const dialog = await askForCodes(page, server);
    await assertAccessible(page, 'asked');
    await confirm(dialog, 'Make ten new', { password: 'not-The-one1' });
    await dialog.getByText('That is not the current password.').waitFor();
    await assertAccessible(page, 'refused');
    await confirm(dialog, 'Make ten new');
    await page.getByRole('dialog', { name: 'Ten new backup codes', exact: true }).waitFor();
    await assertAccessible(page, 'new codes');
    await page.keyboard.press('Escape');
    await assertAccessible(page, 'leaving');
    await page.getByRole('button', { name: 'Leave' }).click();
    await page.getByRole('button', { name: 'Replace the authenticator app' }).click();
    await confirm(page.getByRole('dialog', { name: 'Replace the authenticator app' }), 'Continue');
    await page.getByText('I have saved the backup codes').waitFor();
    await assertAccessible(page, 'enrolment');
    await page.getByText('Which app? And if the phone is lost?').click();
    await page.getByRole('button', { name: 'Replace', exact: true }).click();
    await page.getByText('Save the codes first, then tick this.').waitFor();
    await assertAccessible(page, 'enrolment, refused');
    await page.keyboard.press('Escape');
    await page.goto(`${server.url}/security`);
    await page.getByText('this one').waitFor();
    await assertAccessible(page, 'security with two-factor');
    await page.goto(`${server.url}/security/kit`);
    await page.getByRole('button', { name: 'Print' }).waitFor();
    await assertAccessible(page, 'recovery kit');
  });
}
