// The second factor: turned on by scanning, asked at sign-in, renewed, replaced, turned off.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { assertFocus, authenticator, confirm, openSecurity, scan, toSecurity } from './factors.mjs';
import { accountFile, assertQuiet, BACKUP_CODES, fillLogin, newContext, PASSWORD, startServer, totpCode, TOTP_SECRET, USERNAME, waitForHeading, waitForTitle } from './harness.mjs';

const CODE = 'Verification code';
const KEPT = 'I have saved the backup codes';
const section = (page, name = 'Two-factor') => page.getByRole('region', { name });

async function codesIn(dialog) {
  const list = dialog.getByRole('list', { name: 'Backup codes' });
  await list.waitFor();
  return (await list.getByRole('listitem').allInnerTexts()).map((text) => text.trim());
}

/** Another code of six digits than the one given. */
const otherThan = (code) => String((Number(code) + 1) % 1_000_000).padStart(6, '0');

async function signInWithCode(page, url, code) {
  await page.goto(url);
  await fillLogin(page);
  await page.getByLabel(CODE).pressSequentially(code);
  await waitForTitle(page, 'Overview');
}

test('turned on by scanning: a wrong code changes nothing, the right one ends all other sessions, and sign-in asks', async () => {
  const server = await startServer({ state: accountFile() });
  const elsewhere = await server.signIn();
  const { page, seen } = await newContext({ height: 1000 });
  await openSecurity(page, server.url);
  await page.getByText('two-factor off').waitFor();
  await section(page).getByRole('button', { name: 'Turn on two-factor…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Turn on two-factor' });

  const app = authenticator(await scan(dialog.getByRole('img', { name: 'QR code for the authenticator app' })));
  assert.deepEqual([app.uri.issuer, app.uri.label, app.uri.digits, app.uri.period, app.uri.algorithm], ['ProxMenux Monitor', USERNAME, 6, 30, 'SHA1']);
  assert.equal((await dialog.getByRole('group', { name: 'Secret' }).innerText()).replace(/\s/g, ''), app.uri.secret.base32);
  const codes = await codesIn(dialog);
  assert.equal(codes.length, 10);
  for (const code of codes) assert.match(code, /^[A-Z0-9]{4}-[A-Z0-9]{4}$/);

  await dialog.getByRole('button', { name: 'Turn on', exact: true }).click();
  await dialog.getByText('Save the codes first, then tick this.').waitFor();
  await dialog.getByText('Type the six digits that the app shows.').waitFor();
  await assertFocus(page, 'enrol-kept');
  await dialog.getByLabel(KEPT).check();
  await dialog.getByLabel(CODE).pressSequentially(otherThan(await app.code()));
  await dialog.getByText(/^Not the code of this secret\. Check that the app shows “ProxMenux Monitor: owner”/).waitFor();
  await assertFocus(page, 'enrol-code');
  assert.equal((await server.call('GET', 'auth/status')).totp_enabled, false);
  assert.equal((await server.call('GET', 'auth/profile', undefined, elsewhere)).username, USERNAME);

  await dialog.getByLabel(CODE).fill('');
  await dialog.getByLabel(CODE).pressSequentially(await app.code(-1));
  const done = page.getByRole('dialog', { name: 'Two-factor is on' });
  await done.getByText('1 other session was ended.').waitFor();
  await done.getByText('Sign in once in another window before you close this one.').waitFor();
  await done.getByRole('button', { name: 'Done' }).click();
  await page.getByText('two-factor on').waitFor();
  await assertFocus(page, 'two-factor-h');
  await section(page).getByText('10 of 10 left').waitFor();
  assert.equal((await server.call('GET', 'auth/profile', undefined, elsewhere)).code, 'invalid_token');
  await page.reload();
  await section(page).getByText('10 of 10 left').waitFor();

  const other = await newContext();
  await other.page.goto(server.url);
  await fillLogin(other.page);
  await waitForHeading(other.page, 'Second step');
  await other.page.getByLabel(CODE).pressSequentially(otherThan(await app.code()));
  await other.page.getByText('That code is not right.').waitFor();
  await waitForHeading(other.page, 'Second step');
  await other.page.getByLabel(CODE).fill('');
  await other.page.getByLabel(CODE).pressSequentially(await app.code());
  await waitForTitle(other.page, 'Overview');
  assertQuiet(seen, new URL(server.url).host);
  assertQuiet(other.seen, new URL(server.url).host);
});

test('a code of another time says by how much the clocks differ, and the next one is taken', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openSecurity(page, server.url);
  await section(page).getByRole('button', { name: 'Turn on two-factor…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Turn on two-factor' });
  const app = authenticator(await dialog.getByRole('link', { name: 'Open in an app on this phone', includeHidden: true }).getAttribute('href'));
  await dialog.getByLabel(KEPT).check();

  await dialog.getByLabel(CODE).pressSequentially(await app.code(8));
  await dialog.getByText(/your phone is (3|4) min.* ahead of this host \(/).waitFor();
  await dialog.getByLabel(CODE).fill(await app.code());
  await page.getByRole('dialog', { name: 'Two-factor is on' }).waitFor();
});

test('on a phone the app opens by a link, and the dialog begins at its beginning', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ width: 390, height: 844 });
  await openSecurity(page, server.url);
  await section(page).getByRole('button', { name: 'Turn on two-factor…' }).click();
  const link = page.getByRole('link', { name: 'Open in an app on this phone' });
  await link.waitFor();
  assert.match(await link.getAttribute('href'), /^otpauth:\/\/totp\/ProxMenux%20Monitor(:|%3A)owner\?secret=[A-Z2-7]{32}&issuer=ProxMenux%20Monitor/);
  assert.equal(await page.getByRole('dialog').evaluate((element) => element.scrollTop), 0);
  await assertFocus(page, 'enrol-title');
});

test('the codes can be copied and downloaded, and the help names apps and the way back', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, context } = await newContext();
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await openSecurity(page, server.url);
  await section(page).getByRole('button', { name: 'Turn on two-factor…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Turn on two-factor' });
  const codes = await codesIn(dialog);

  await dialog.getByRole('button', { name: 'Copy', exact: true }).click();
  await dialog.getByRole('status').filter({ hasText: 'Copied' }).waitFor({ state: 'attached' });
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), codes.join('\n'));
  await dialog.getByRole('button', { name: 'Copy secret' }).click();
  await page.waitForFunction(async () => /^[A-Z2-7]{32}$/.test(await navigator.clipboard.readText()));
  const download = page.waitForEvent('download');
  await dialog.getByRole('button', { name: 'Download' }).click();
  const file = await download;
  assert.match(file.suggestedFilename(), /^proxmenux-monitor-.+-backup-codes\.txt$/);
  const text = readFileSync(await file.path(), 'utf8');
  for (const code of codes) assert.ok(text.includes(code));
  assert.match(text, /User: owner/);

  await dialog.getByText('Which app? And if the phone is lost?').click();
  await dialog.getByText(/Aegis, Ente Auth/).waitFor();
  await dialog.getByText('proxmenux-monitor totp disable').waitFor();
});

test('they can be copied without HTTPS too', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.addInitScript(() => {
    Object.defineProperty(navigator, 'clipboard', { value: undefined });
    document.addEventListener('copy', () => { window.copied = document.activeElement?.value; });
  });
  await openSecurity(page, server.url);
  await section(page).getByRole('button', { name: 'Turn on two-factor…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Turn on two-factor' });
  const codes = await codesIn(dialog);
  await dialog.getByRole('button', { name: 'Copy', exact: true }).click();
  await dialog.getByRole('status').filter({ hasText: 'Copied' }).waitFor({ state: 'attached' });
  assert.equal(await page.evaluate(() => window.copied), codes.join('\n'));
});

test('ten minutes without a code, or a restart of the service: nothing was changed, and one starts again', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openSecurity(page, server.url);
  // Once, the ten minutes are four seconds.
  await page.route('**/api/auth/totp/setup', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), expires_in: 4 } });
  }, { times: 1 });
  await section(page).getByRole('button', { name: 'Turn on two-factor…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Turn on two-factor' });
  const secret = () => dialog.getByRole('group', { name: 'Secret' }).innerText();
  const first = await secret();
  await dialog.getByText(/^Waits another 0:0\d$/).waitFor();

  const over = page.getByRole('dialog', { name: 'Ten minutes have passed' });
  await over.getByText('Nothing was changed.').waitFor();
  await over.getByRole('button', { name: 'Start again' }).click();
  await dialog.waitFor();
  assert.notEqual(await secret(), first);

  await server.kill();
  await server.start();
  await dialog.getByLabel(KEPT).check();
  await dialog.getByLabel(CODE).pressSequentially('123456');
  await over.waitFor();
  assert.equal((await server.call('GET', 'auth/status')).totp_enabled, false);
});

test('a backup code opens the door, few of them are told, and ten new ones end the old', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page, seen } = await newContext();
  await signInWithCode(page, server.url, BACKUP_CODES[0].toLowerCase());
  await page.getByText('Backup code used; 2 are left.').waitFor();
  await page.getByRole('main').getByText('Only 2 backup codes are left.').waitFor();
  await page.getByRole('link', { name: 'Make ten new' }).click();
  await waitForTitle(page, 'Security');
  await page.getByText('this one').waitFor();
  assert.equal(await page.getByText('Only 2 backup codes are left.').count(), 1, 'told once');
  await section(page).getByText('2 of 10 left').waitFor();

  await page.getByRole('button', { name: 'Make ten new…' }).first().click();
  await confirm(page.getByRole('dialog', { name: 'Make ten new backup codes?' }), 'Make ten new');
  const dialog = page.getByRole('dialog', { name: 'Ten new backup codes', exact: true });
  const codes = await codesIn(dialog);
  assert.equal(new Set(codes).size, 10);
  await dialog.getByText('Not saved yet').waitFor();
  await page.keyboard.press('Escape');
  const leaving = page.getByRole('dialog', { name: 'Leave without backup codes?' });
  await leaving.waitFor();
  // A browser may close a dialog by itself; it must not be lost with what is in it.
  await page.evaluate(() => { document.querySelector('dialog').close(); });
  assert.deepEqual(await codesIn(dialog), codes);
  await page.goBack();
  await leaving.getByRole('button', { name: 'Stay and save' }).click();
  await dialog.getByRole('button', { name: 'Close' }).click();
  await leaving.getByRole('button', { name: 'Stay and save' }).click();
  assert.deepEqual(await codesIn(dialog), codes);
  await dialog.getByRole('button', { name: 'Copy', exact: true }).click();
  await dialog.getByText('Not saved yet').waitFor({ state: 'detached' });
  await dialog.getByRole('button', { name: 'Done' }).click();
  await dialog.waitFor({ state: 'detached' });
  await section(page).getByText('10 of 10 left').waitFor();
  assert.equal(await page.getByText(/Only 2 backup codes/).count(), 0);
  await page.getByRole('link', { name: 'Overview' }).first().click();
  await waitForTitle(page, 'Overview');
  assert.equal(await page.getByText(/Only 2 backup codes/).count(), 0);

  const other = await newContext();
  await other.page.goto(server.url);
  await fillLogin(other.page);
  await other.page.getByLabel(CODE).pressSequentially(BACKUP_CODES[1]);
  await other.page.getByText('That code is not right.').waitFor();
  await other.page.getByLabel(CODE).fill('');
  await other.page.getByLabel(CODE).pressSequentially(codes[9]);
  await other.page.getByText('Backup code used; 9 are left.').waitFor();
  assertQuiet(seen, new URL(server.url).host);
});

test('turned off: it says what ends, and the password alone opens the door again', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const elsewhere = await server.signIn({ totp_token: totpCode(-30) });
  const { page } = await newContext();
  await signInWithCode(page, server.url, totpCode());
  await toSecurity(page);
  await section(page).getByRole('button', { name: 'Turn off two-factor' }).click();
  const dialog = page.getByRole('dialog', { name: 'Turn off two-factor?' });
  await dialog.getByText('1 other session ends.').waitFor();
  await confirm(dialog, 'Turn off');

  await page.getByRole('status').filter({ hasText: 'Two-factor is off; 1 other session ended' }).waitFor();
  await section(page).getByRole('button', { name: 'Turn on two-factor…' }).waitFor();
  await page.getByText('two-factor off').waitFor();
  assert.equal((await server.call('GET', 'auth/profile', undefined, elsewhere)).code, 'invalid_token');
  assert.doesNotMatch(server.readState(), new RegExp(TOTP_SECRET));
  const other = await newContext();
  await other.page.goto(server.url);
  await fillLogin(other.page);
  await waitForTitle(other.page, 'Overview');
});

test('replaced: the present app goes on until the new one is confirmed', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext({ height: 1000 });
  await signInWithCode(page, server.url, BACKUP_CODES[0]);
  await toSecurity(page);
  await section(page).getByRole('button', { name: 'Replace the authenticator app' }).click();
  const dialog = page.getByRole('dialog', { name: 'Replace the authenticator app' });
  await dialog.getByText('go on working until a code of the new one is confirmed').waitFor();
  await confirm(dialog, 'Continue');
  await dialog.getByText('The present app goes on working until you confirm a code of the new one.').waitFor();
  const app = authenticator(await scan(dialog.getByRole('img', { name: 'QR code for the authenticator app' })));
  assert.notEqual(app.uri.secret.base32, TOTP_SECRET);

  const elsewhere = await server.signIn({ totp_token: totpCode() });
  assert.equal((await server.call('POST', 'auth/login', { username: USERNAME, password: PASSWORD, totp_token: await app.code() })).code, 'wrong_code');
  await dialog.getByLabel(KEPT).check();
  await dialog.getByLabel(CODE).pressSequentially(await app.code());
  await page.getByRole('dialog', { name: 'The new app is in place' }).getByRole('button', { name: 'Done' }).click();
  assert.equal((await server.call('GET', 'auth/profile', undefined, elsewhere)).code, 'invalid_token');
  assert.equal((await server.call('POST', 'auth/login', { username: USERNAME, password: PASSWORD, totp_token: totpCode(30) })).code, 'wrong_code');
  await server.signIn({ totp_token: await app.code(1) });
});

test('a dialog that is left changes nothing, and gives the focus back', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  await signInWithCode(page, server.url, totpCode());
  await toSecurity(page);
  const before = server.readState();
  for (const name of ['Replace the authenticator app', 'Turn off two-factor']) {
    const opener = section(page).getByRole('button', { name });
    await opener.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    assert.match(await page.evaluate(() => document.activeElement?.id), /-password$/);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(await opener.evaluate((element) => element === document.activeElement), true, name);
  }
  const known = (text) => JSON.stringify({ ...JSON.parse(text), sessions: [] });
  assert.equal(known(server.readState()), known(before));
});

test('in Spanish too', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext({ locale: 'es-ES', width: 390, height: 844 });
  await page.goto(server.url);
  await page.getByLabel('Usuario').fill(USERNAME);
  await page.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Entrar', exact: true }).click();
  await page.getByRole('link', { name: 'Seguridad' }).last().click();
  await page.getByRole('button', { name: 'Activar el segundo factor…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Activar el segundo factor' });
  const app = authenticator(await dialog.getByRole('link', { name: 'Abrir en una aplicación de este teléfono' }).getAttribute('href'));
  await dialog.getByLabel('He guardado los códigos de reserva').check();
  await dialog.getByLabel('Código de verificación').pressSequentially(otherThan(await app.code()));
  await dialog.getByText(/^No es el código de este secreto/).waitFor();
  await dialog.getByLabel('Código de verificación').fill(await app.code());
  await page.getByRole('dialog', { name: 'El segundo factor está activado' }).getByText('Entra una vez en otra ventana antes de cerrar esta.').waitFor();
  assertQuiet(seen, new URL(server.url).host);
});

test('at 320 px nothing runs out of the dialogs or the kit, in Spanish', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext({ locale: 'es-ES', width: 320, height: 640 });
  await page.goto(server.url);
  await page.getByLabel('Usuario').fill(USERNAME);
  await page.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Entrar', exact: true }).click();
  await page.getByLabel('Código de verificación').fill(BACKUP_CODES[0]);
  await page.getByRole('button', { name: 'Continuar' }).click();
  await page.getByRole('link', { name: 'Seguridad' }).last().click();
  const dialog = page.getByRole('dialog');
  const assertFits = async (locator, what) => {
    const [inner, outer] = await locator.evaluate((element) => [element.scrollWidth, element.clientWidth]);
    assert.ok(inner <= outer, `${what}: ${inner} of ${outer}`);
  };
  const ask = async (button, action) => {
    await section(page, 'Segundo factor').getByRole('button', { name: button }).click();
    await assertFits(dialog, button);
    await dialog.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
    await dialog.getByRole('button', { name: action, exact: true }).click();
    await dialog.getByRole('list', { name: 'Códigos de reserva' }).waitFor();
    await assertFits(dialog, action);
    await assertFits(dialog.getByRole('list', { name: 'Códigos de reserva' }), `${action}, codes`);
  };
  await ask('Cambiar la aplicación de autenticación', 'Continuar');
  await dialog.getByRole('button', { name: 'Cancelar' }).click();
  await ask('Crear diez nuevos…', 'Crear diez nuevos');
  await dialog.getByRole('link', { name: 'Imprimir una hoja de recuperación' }).click();
  await waitForHeading(page, 'Hoja de recuperación');
  await assertFits(page.locator('html'), 'kit');
});
