// The forms, recipes and hints around API access tokens; Spanish, phone, keyboard.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { accountFile, assertQuiet, newContext, PASSWORD, startServer, totpCode } from './harness.mjs';
import { callWith, clipboardOf, contextWithClipboard, makeToken, openSecurity, row, worn } from './tokens.mjs';

test('what is wrong stands beside its field, and a wrong password signs nobody out', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openSecurity(page, server);
  await page.getByRole('button', { name: 'New token' }).click();
  const form = page.getByRole('dialog', { name: 'New token' });
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'token-name');
  assert.equal(await form.getByRole('radio', { name: 'read_only' }).isChecked(), true);

  await form.getByRole('radio', { name: 'Other' }).check();
  await form.getByRole('textbox', { name: 'Days' }).fill('366');
  await form.getByLabel('Only from').fill('192.0.2.0/24\n192.0.2.0/33');
  await form.getByRole('button', { name: 'Make token' }).click();
  for (const text of ['Give it a name, so that you know later who uses it.', 'A whole number of days, from 1 to 365.', '192.0.2.0/33: a prefix ends at /32.', 'Type your password.']) {
    await form.getByText(text).waitFor();
  }
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'token-name');
  await form.getByLabel('Name').fill('x'.repeat(65));
  await form.getByRole('textbox', { name: 'Days' }).fill('12');
  await form.getByLabel('Only from').fill('nas.example.net');
  await form.getByLabel('Password', { exact: true }).fill('not-The-one1');
  await form.getByRole('button', { name: 'Make token' }).click();
  await form.getByText('At most 64 characters.').waitFor();
  await form.getByText('nas.example.net is not a network. Write 192.0.2.0/24, or a single address.').waitFor();
  await form.getByLabel('Name').fill('backup');
  await form.getByLabel('Only from').fill('');
  await form.getByRole('button', { name: 'Make token' }).click();
  await form.getByText('That is not the current password.').waitFor();

  await form.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await form.getByRole('radio', { name: 'full_admin' }).check();
  await form.getByRole('checkbox', { name: 'May open the terminal' }).check();
  await form.getByText('Whoever has this token is then root on this host.').waitFor();
  await form.getByRole('radio', { name: 'operator' }).check();
  assert.equal(await form.getByRole('checkbox').count(), 0);
  await form.getByRole('radio', { name: 'full_admin' }).check();
  assert.equal(await form.getByRole('checkbox').isChecked(), false, 'the right does not come back by itself');
  await form.getByRole('checkbox').check();
  await form.getByRole('button', { name: 'Make token' }).click();
  const made = page.getByRole('dialog', { name: 'Token for backup' });
  await made.getByText(/^full_admin · may open the terminal · expires /).waitFor();
  const { tokens } = await server.call('GET', 'auth/api-tokens', undefined, await server.signIn());
  assert.deepEqual(tokens.map(({ name, scope, terminal, days_left: left }) => [name, scope, terminal, left]), [['backup', 'full_admin', true, 12]]);
});

test('the server’s own objections find their field', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openSecurity(page, server);
  await page.getByRole('button', { name: 'New token' }).click();
  const form = page.getByRole('dialog', { name: 'New token' });
  await form.getByLabel('Name').fill('ha-bridge');
  await form.getByLabel('Password', { exact: true }).fill(PASSWORD);
  for (const [code, field, text] of [
    ['invalid_token_name', '#token-name', 'At most 64 characters, and no control characters.'],
    ['invalid_network', '#token-networks', 'One of these is not a network. Write 192.0.2.0/24, or a single address.'],
  ]) {
    await page.route('**/api/auth/generate-api-token', (route) => route.fulfill({ status: 400, json: { success: false, error: 'x', message: 'x', code } }), { times: 1 });
    await form.getByRole('button', { name: 'Make token' }).click();
    await form.getByText(text).waitFor();
    assert.equal(await form.locator(field).getAttribute('aria-invalid'), 'true');
    assert.equal(await form.locator(field).evaluate((element) => element === document.activeElement), true);
  }
});

test('with two-factor on a code is asked too', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await contextWithClipboard();
  await openSecurity(page, server, { code: () => totpCode() });
  await page.getByRole('button', { name: 'New token' }).click();
  const form = page.getByRole('dialog', { name: 'New token' });
  await form.getByLabel('Name').fill('ha-bridge');
  await form.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await form.getByRole('button', { name: 'Make token' }).click();
  await form.getByText('Type the six digits, or a backup code.').waitFor();
  await form.getByLabel('Verification code').fill(totpCode(30));
  await form.getByRole('button', { name: 'Make token' }).click();
  await page.getByRole('dialog', { name: 'Token for ha-bridge' }).waitFor();
});

test('recipes are real tabs, filled in, and hold the token only once they are copied', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await contextWithClipboard();
  await openSecurity(page, server);
  const made = await makeToken(page, { name: 'ha-bridge' });
  const tabs = made.getByRole('tablist', { name: 'Use it in' });
  assert.deepEqual(await tabs.getByRole('tab').allInnerTexts(), ['curl', 'Homepage', 'Home Assistant', 'Prometheus', 'Uptime Kuma']);
  await tabs.getByRole('tab', { name: 'curl' }).focus();
  const chosen = () => tabs.getByRole('tab', { selected: true }).innerText();
  for (const [key, name] of [['ArrowRight', 'Homepage'], ['End', 'Uptime Kuma'], ['ArrowRight', 'curl'], ['ArrowLeft', 'Uptime Kuma'], ['Home', 'curl']]) {
    await page.keyboard.press(key);
    assert.equal(await chosen(), name);
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), name);
  }
  assert.deepEqual(await tabs.getByRole('tab').evaluateAll((all) => all.map((tab) => tab.tabIndex)), [0, -1, -1, -1, -1]);

  const panel = made.getByRole('tabpanel');
  await panel.getByText(`'${server.url}/api/system'`).waitFor();
  await panel.getByRole('button', { name: 'Copy with token' }).click();
  await made.getByText('Not copied yet').waitFor({ state: 'detached' });
  const command = await clipboardOf(page);
  const token = /Bearer (eyJ[\w.-]+)'/.exec(command)?.[1];
  assert.equal(await callWith(server, token, 'system'), 200);
  await tabs.getByRole('tab', { name: 'Prometheus' }).click();
  await panel.getByText('metrics is enough for this; this token has read_only.').waitFor();
  assert.match(await panel.innerText(), /metrics_path: "\/api\/prometheus"/);
  assert.match(await panel.innerText(), new RegExp(`credentials: "••••${token.slice(-4)}"`));
  await tabs.getByRole('tab', { name: 'Uptime Kuma' }).click();
  await panel.getByRole('button', { name: 'Copy', exact: true }).click();
  assert.match(await clipboardOf(page), new RegExp(`URL: ${server.url}/api/system-info`));
  assert.equal((await page.content()).includes(token), false);
});

test('without the clipboard of HTTPS copying works as well', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, context } = await contextWithClipboard();
  await context.addInitScript(() => {
    const clipboard = navigator.clipboard;
    globalThis.readBack = () => clipboard.readText();
    Object.defineProperty(navigator, 'clipboard', { value: undefined });
  });
  await openSecurity(page, server);
  const made = await makeToken(page, { name: 'ha-bridge' });

  await made.getByRole('button', { name: 'Copy token' }).click();
  await made.getByText('Not copied yet').waitFor({ state: 'detached' });
  assert.equal(await callWith(server, await page.evaluate(() => globalThis.readBack()), 'system'), 200);
  await page.evaluate(() => { document.execCommand = () => false; });
  await made.getByRole('tab', { name: 'Homepage' }).click();
  await made.getByRole('button', { name: 'Copy with token' }).click();
  await made.getByText('The browser does not let the page copy. Reveal the token and copy both by hand.').waitFor();
  await made.getByRole('button', { name: 'Copy token' }).click();
  await made.getByText('The browser does not let the page copy. Select the token and copy it by hand.').waitFor();
  assert.match(await page.evaluate(() => getSelection()?.toString() ?? ''), /^eyJ/);
});

test('three suggestions at most stand under the verdict, each one click from done', async () => {
  const { state } = worn();
  const server = await startServer({ state });
  const { page } = await newContext();
  await openSecurity(page, server);
  await page.getByRole('link', { name: '3 tokens' }).waitFor();
  const lines = page.locator('.suggest li');
  assert.equal(await lines.count(), 3);
  assert.match(await lines.nth(1).innerText(), /prometheus expires in 1[12] hours\./);
  assert.match(await lines.nth(2).innerText(), /uptime-kuma was signed with an earlier secret/);

  await lines.nth(1).getByRole('button', { name: 'Rotate… prometheus' }).click();
  await page.getByRole('dialog', { name: 'Rotate prometheus' }).getByRole('button', { name: 'Cancel' }).click();
  for (const name of ['prometheus', 'uptime-kuma']) {
    await row(page, name).getByRole('button', { name: `Revoke… ${name}` }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  }
  assert.equal(await lines.count(), 2);
  await page.getByText('backup-job has full rights and was never used.').waitFor();
  await lines.getByRole('button', { name: 'Revoke it… backup-job' }).click();
  await page.getByRole('dialog', { name: 'Revoke backup-job?' }).getByText('It was never used, so nothing stops.').waitFor();
});

test('tokens of the earlier program are shown as such, and known once they are used', async () => {
  const { state, made } = worn();
  const server = await startServer({ state });
  const { page } = await newContext();
  await openSecurity(page, server);
  assert.match(await row(page, 'old-script').innerText(), /unknown.*made by the earlier program.*never/s);
  assert.match(await row(page, 'gone').innerText(), /Expired/);
  assert.equal(await row(page, 'gone').getByRole('button', { name: 'Regenerate… gone' }).count(), 1);

  assert.equal(await callWith(server, made.legacy.token, 'system'), 200);
  await page.reload();
  await row(page, 'old-script').getByText('Active').waitFor();
  assert.match(await row(page, 'old-script').innerText(), /full_admin.*made by the earlier program.*127\.0\.0\.1/s);
});

test('in Spanish, on a phone: made, copied, received, revoked', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, context, seen } = await contextWithClipboard({ width: 320, height: 700, locale: 'es-ES' });
  const runsOver = () => page.evaluate(() => Math.max(document.documentElement.scrollWidth - innerWidth, ...[...document.querySelectorAll('dialog')].map((dialog) => dialog.scrollWidth - dialog.clientWidth)));
  await page.goto(`${server.url}/security`);
  await page.getByLabel('Usuario').fill('owner');
  await page.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Entrar', exact: true }).click();
  const section = page.getByRole('region', { name: 'Tokens de acceso a la API' });
  await section.getByRole('button', { name: 'Nuevo token' }).click();
  const form = page.getByRole('dialog', { name: 'Nuevo token' });
  await form.getByLabel('Nombre').fill('ha-bridge');
  assert.equal(await runsOver(), 0);
  await form.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await form.getByRole('button', { name: 'Crear token' }).click();
  const made = page.getByRole('dialog', { name: 'Token para ha-bridge' });
  for (const name of ['curl', 'Homepage', 'Home Assistant', 'Prometheus', 'Uptime Kuma']) {
    await made.getByRole('tab', { name }).click();
    assert.equal(await runsOver(), 0, name);
  }
  await made.getByRole('button', { name: 'Copiar token' }).click();
  await made.getByText('Copiado').first().waitFor();
  assert.equal(await callWith(server, await clipboardOf(page), 'system'), 200);
  await made.getByText('Primera llamada recibida').waitFor();
  await made.getByRole('button', { name: 'Listo' }).click();

  await section.getByText('Activo').waitFor();
  assert.equal(await runsOver(), 0);
  await section.getByRole('button', { name: 'Revocar… ha-bridge' }).click();
  const question = page.getByRole('dialog', { name: '¿Revocar ha-bridge?' });
  assert.equal(await runsOver(), 0);
  await question.getByRole('button', { name: 'Revocar' }).click();
  await section.getByRole('button', { name: 'Mostrar 1 revocado' }).waitFor();
  assertQuiet(seen, new URL(server.url).host);
  await context.close();
});

test('with the keyboard alone a token is made, and the focus returns', async () => {
  const server = await startServer({ state: accountFile() });
  await server.call('POST', 'auth/generate-api-token', { password: PASSWORD, token_name: 'first' }, await server.signIn());
  const { page } = await contextWithClipboard();
  await openSecurity(page, server);
  await page.getByRole('button', { name: 'New token' }).focus();
  await page.keyboard.press('Enter');
  await page.keyboard.type('ha-bridge');
  await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowUp');
  assert.equal(await page.getByRole('radio', { name: 'metrics' }).isChecked(), true);
  for (let index = 0; index < 3; index += 1) await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'token-password');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  const made = page.getByRole('dialog', { name: 'Token for ha-bridge' });
  await made.waitFor();
  await page.waitForFunction(() => document.activeElement?.textContent?.includes('Copy token'));
  await page.keyboard.press('Enter');
  await made.getByText('Not copied yet').waitFor({ state: 'detached' });
  await page.keyboard.press('Escape');
  await made.waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement?.textContent?.trim()), 'New token');
  for (let index = 0; index < 2; index += 1) await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Revoke… ha-bridge');
});

test('without a password there is nothing to make, and no call that fails', async () => {
  const server = await startServer({ state: { enabled: false, declined: true, configured: true, username: null, password_hash: null, jwt_secret: randomBytes(48).toString('base64url'), api_tokens: [], revoked_tokens: [], version: 2 } });
  const { page, seen } = await newContext();
  await page.goto(`${server.url}/security`);
  await page.getByText('Without a password nobody needs a token. Those made before are kept.').waitFor();
  assert.equal(await page.getByRole('button', { name: 'New token' }).count(), 0);
  assert.equal(seen.requests.some((request) => request.includes('api-tokens')), false);
});
