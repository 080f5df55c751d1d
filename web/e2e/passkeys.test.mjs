// Passkeys: made, used to sign in and to confirm, renamed, removed; and why there are none elsewhere.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAccessible, LOOKS } from './axe.mjs';
import { addPasskeyDevice, assertFocus, atLocalhost, confirm, openSecurity, toSecurity } from './factors.mjs';
import { accountFile, assertQuiet, BACKUP_CODES, fillLogin, newContext, PASSWORD, startServer, totpCode, USERNAME, waitForHeading, waitForTitle } from './harness.mjs';

const section = (page) => page.getByRole('region', { name: 'Passkeys' });
const addDialog = (page) => page.getByRole('dialog', { name: 'Add a passkey' });

/** Opens Security at localhost in a browser with a passkey device. */
async function openWithDevice(server, look = {}, device = {}) {
  const browser = await newContext(look);
  const passkeys = await addPasskeyDevice(browser.page, device);
  await openSecurity(browser.page, atLocalhost(server));
  return { ...browser, device: passkeys };
}

/** Adds a passkey under a name. */
async function add(page, name, { code } = {}) {
  await section(page).getByRole('button', { name: 'Add passkey…' }).click();
  await addDialog(page).getByLabel('Name', { exact: true }).fill(name);
  await confirm(addDialog(page), 'Add passkey', code === undefined ? {} : { code });
  await section(page).getByText(name, { exact: true }).waitFor();
}

async function signOut(page) {
  await page.getByRole('button', { name: 'Sign out' }).first().click();
  await page.getByLabel('Username').waitFor();
}

async function choose(page, name, action) {
  await section(page).getByRole('button', { name: `${name}: rename or remove` }).click();
  await page.getByRole('menuitem', { name: action }).click();
}

test('a passkey is made under a name, ends all other sessions, and opens the door alone', async () => {
  const server = await startServer({ state: accountFile() });
  const elsewhere = await server.signIn();
  const { page, seen, device } = await openWithDevice(server);
  await section(page).getByText('No passkeys yet').waitFor();
  await section(page).getByRole('button', { name: 'Add passkey…' }).click();
  await addDialog(page).getByText('1 other session ends.').waitFor();
  assert.equal(await addDialog(page).getByLabel('Name', { exact: true }).inputValue(), 'Chrome on Linux');
  await assertFocus(page, 'passkey-name');
  await addDialog(page).getByLabel('Name', { exact: true }).fill('Laptop');
  await confirm(addDialog(page), 'Add passkey', { password: 'not-The-one1' });
  await addDialog(page).getByText('That is not the current password.').waitFor();
  assert.equal((await device.credentials()).length, 0);
  await confirm(addDialog(page), 'Add passkey');
  await page.getByRole('status').filter({ hasText: 'Passkey added: Laptop; 1 other session ended' }).waitFor();
  await section(page).getByText('never used').waitFor();
  assert.equal((await device.credentials()).length, 1);
  assert.equal((await server.call('GET', 'auth/profile', undefined, elsewhere)).code, 'invalid_token');

  await signOut(page);
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await waitForTitle(page, 'Overview');
  await toSecurity(page);
  await page.getByRole('region', { name: 'Sessions' }).getByText('passkey').waitFor();
  await section(page).getByText(/used (now|\d+ seconds? ago)/).waitFor();
  assertQuiet(seen, new URL(atLocalhost(server)).host);
});

test('with two-factor on, a passkey is the whole sign-in, also at the second step', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  await addPasskeyDevice(page);
  await page.goto(atLocalhost(server));
  await fillLogin(page);
  await page.getByLabel('Verification code').fill(totpCode());
  await waitForTitle(page, 'Overview');
  await toSecurity(page);
  await add(page, 'Laptop');
  await signOut(page);
  await fillLogin(page);
  await waitForHeading(page, 'Second step');
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await waitForTitle(page, 'Overview');
});

test('a passkey confirms in place of password and code', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page, seen } = await newContext();
  const device = await addPasskeyDevice(page);
  await page.goto(atLocalhost(server));
  await fillLogin(page);
  await page.getByLabel('Verification code').fill(BACKUP_CODES[0]);
  await waitForTitle(page, 'Overview');
  await toSecurity(page);
  await add(page, 'Laptop');

  // Ten new codes, without a word typed.
  await page.getByRole('button', { name: 'Make ten new…' }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'Use a passkey' }).click();
  const codes = page.getByRole('dialog', { name: 'Ten new backup codes', exact: true });
  await codes.getByRole('button', { name: 'Copy', exact: true }).click();
  await codes.getByRole('button', { name: 'Done' }).click();

  // A new password: the passkey is shown first, the password that is missing asked for then.
  await page.getByRole('button', { name: 'Change the password' }).click();
  const change = page.getByRole('dialog', { name: 'Change the password' });
  await change.getByRole('button', { name: 'Use a passkey' }).click();
  await change.getByText('Confirmed with your passkey.').waitFor();
  await change.getByText('Choose a password.').waitFor();
  assert.equal(await change.getByLabel('Current password').count(), 0);
  await change.getByLabel('New password', { exact: true }).fill('winter-Coat9x');
  await change.getByRole('button', { name: 'Change password' }).click();
  await page.getByRole('status').filter({ hasText: 'Password changed' }).waitFor();

  // The device no longer knows it: nothing is said, the dialog stays, and a password still does.
  await device.clear();
  await page.getByRole('button', { name: 'Turn off two-factor' }).click();
  const off = page.getByRole('dialog', { name: 'Turn off two-factor?' });
  await off.getByRole('button', { name: 'Use a passkey' }).click();
  await off.getByRole('button', { name: 'Use a passkey' }).waitFor();
  await page.waitForFunction(() => document.querySelector('dialog .passkey button')?.ariaBusy !== 'true');
  assert.equal(await off.getByRole('alert').count(), 0);
  await confirm(off, 'Turn off', { password: 'winter-Coat9x' });
  await page.getByRole('status').filter({ hasText: 'Two-factor is off' }).waitFor();
  assertQuiet(seen, new URL(atLocalhost(server)).host);
});

test('protection goes off with a passkey alone', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await openWithDevice(server);
  await add(page, 'Laptop');
  await page.getByRole('button', { name: 'Turn protection off…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Use a passkey' }).click();
  await waitForHeading(page, 'Protect Your Dashboard?');
});

test('a passkey that is not accepted is said beside its button, and the next try begins anew', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await openWithDevice(server);
  await add(page, 'Laptop');
  await page.route('**/api/auth/disable', (route) => route.fulfill({ status: 403, json: { success: false, code: 'reauthentication_failed', field: 'passkey', message: 'refused' } }), { times: 1 });
  await page.getByRole('button', { name: 'Turn protection off…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Use a passkey' }).click();
  await dialog.getByText('That passkey was not accepted.').waitFor();
  await dialog.getByLabel('Password', { exact: true }).waitFor();
  await dialog.getByRole('button', { name: 'Use a passkey' }).click();
  await waitForHeading(page, 'Protect Your Dashboard?');
  assert.equal(seen.requests.filter((request) => request.endsWith('confirm/start')).length, 2);
});

test('a passkey is renamed and removed; what will end is said before', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, device } = await openWithDevice(server);
  await add(page, 'Laptop');
  await choose(page, 'Laptop', 'Rename…');
  const rename = page.getByRole('dialog', { name: 'Rename “Laptop”' });
  await page.keyboard.press('Escape');
  await rename.waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Laptop: rename or remove');
  await choose(page, 'Laptop', 'Rename…');
  await rename.getByLabel('Name', { exact: true }).fill(' ');
  await confirm(rename, 'Rename');
  await rename.getByText('Give it a name.').waitFor();
  await rename.getByLabel('Name', { exact: true }).fill('Blue key');
  await rename.getByRole('button', { name: 'Rename' }).click();
  await section(page).getByText('Blue key').waitFor();

  await server.signIn();
  await page.reload();
  await page.getByText('this one').waitFor();
  await choose(page, 'Blue key', 'Remove…');
  const remove = page.getByRole('dialog', { name: 'Remove “Blue key”?' });
  await remove.getByText('1 other session ends.').waitFor();
  await confirm(remove, 'Remove passkey');
  await page.getByRole('status').filter({ hasText: 'Passkey removed: Blue key; 1 other session ended' }).waitFor();
  await section(page).getByText('No passkeys yet').waitFor();
  await assertFocus(page, 'passkeys-h');

  // The device still has it, and it opens nothing.
  assert.equal((await device.credentials()).length, 1);
  await signOut(page);
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.getByText('That passkey opens nothing here.').waitFor();
  await fillLogin(page);
  await waitForTitle(page, 'Overview');
});

test('closing the browser’s dialog says nothing and stays', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, device, seen } = await openWithDevice(server);
  // A finger that is not recognised: the browser ends with the same error as a dialog that is closed.
  await device.verify(false);
  await section(page).getByRole('button', { name: 'Add passkey…' }).click();
  await confirm(addDialog(page), 'Add passkey');
  await addDialog(page).getByText('No passkey was made. You can try again.').waitFor();
  assert.equal(await addDialog(page).getByRole('alert').count(), 0);
  await device.verify(true);
  await addDialog(page).getByRole('button', { name: 'Ask again' }).click();
  await section(page).getByText('Chrome on Linux').waitFor();
  assert.equal(seen.requests.filter((request) => request.endsWith('register/start')).length, 1, 'the proof is not asked for twice');

  // The same device twice: the browser knows it.
  await section(page).getByRole('button', { name: 'Add passkey…' }).click();
  await confirm(addDialog(page), 'Add passkey');
  await addDialog(page).getByText('This device or key holds a passkey for this dashboard already.').waitFor();
  await addDialog(page).getByRole('button', { name: 'Cancel' }).click();

  await signOut(page);
  await device.clear();
  await page.getByLabel('Username').fill(USERNAME);
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.waitForFunction(() => [...document.querySelectorAll('button')].every((button) => button.ariaBusy !== 'true'));
  assert.equal(await page.getByRole('alert').count(), 0);
  assert.equal(await page.getByLabel('Username').inputValue(), USERNAME, 'what was typed stays');
});

test('a ceremony that took too long is said, and the next try works', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await openWithDevice(server);
  await page.route('**/api/auth/passkeys/register/finish', (route) => route.fulfill({ status: 400, json: { success: false, code: 'ceremony_expired', message: 'expired' } }), { times: 1 });
  await section(page).getByRole('button', { name: 'Add passkey…' }).click();
  await confirm(addDialog(page), 'Add passkey');
  await addDialog(page).getByText('That took too long. Start again.').waitFor();
  await addDialog(page).getByLabel('Password', { exact: true }).waitFor();
});

test('where passkeys cannot be used the page says why, and sign-in does not offer them', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.goto(server.url);
  await page.getByLabel('Username').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Sign in with a passkey' }).count(), 0);
  await openSecurity(page, server.url);
  await section(page).getByText('this page was opened by the address 127.0.0.1').waitFor();
  assert.equal(await section(page).getByRole('button', { name: 'Add passkey…' }).count(), 0);

  const named = await newContext();
  await named.page.goto(server.url);
  await named.page.route('**/api/auth/passkeys', (route) => route.fulfill({ json: { success: true, passkeys: [], available_here: false, unavailable_reason: 'not_https' } }));
  await openSecurity(named.page, server.url);
  await section(named.page).getByText('Passkeys need HTTPS, and this page came over plain HTTP.').waitFor();
});

test('by keyboard, and in Spanish', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ locale: 'es-ES', width: 390, height: 844 });
  await addPasskeyDevice(page);
  await page.goto(atLocalhost(server));
  await page.getByLabel('Usuario').fill(USERNAME);
  await page.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'Seguridad' }).last().click();
  const opener = page.getByRole('button', { name: 'Añadir passkey…' });
  await opener.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Añadir una passkey' }).waitFor();
  await page.keyboard.type('Portátil');
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  const actions = page.getByRole('button', { name: 'Portátil: renombrar o quitar' });
  await actions.focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('End');
  await page.keyboard.press('Enter');
  const remove = page.getByRole('dialog', { name: '¿Quitar «Portátil»?' });
  await remove.getByRole('button', { name: 'Usar una passkey' }).focus();
  await page.keyboard.press('Enter');
  await page.getByText('Todavía no hay passkeys').waitFor();
});

for (const { theme, width } of LOOKS) {
  test(`axe finds nothing, ${theme}, ${width} px`, async () => {
    const server = await startServer({ state: accountFile() });
    const { page } = await openWithDevice(server, { theme, width, height: 2000, bypassCSP: true });
    await section(page).getByRole('button', { name: 'Add passkey…' }).click();
    await assertAccessible(page, 'add');
    await page.keyboard.press('Escape');
    await add(page, 'Laptop');
    await assertAccessible(page, 'list');
    await section(page).getByRole('button', { name: 'Laptop: rename or remove' }).click();
    await assertAccessible(page, 'menu');
    await page.getByRole('menuitem', { name: 'Rename…' }).click();
    await assertAccessible(page, 'rename');
    await page.keyboard.press('Escape');
    await choose(page, 'Laptop', 'Remove…');
    await page.getByRole('dialog').getByRole('button', { name: 'Use a passkey' }).waitFor();
    await assertAccessible(page, 'remove');
    await page.keyboard.press('Escape');
    await signOut(page);
    await assertAccessible(page, 'sign-in');
  });
}
