// axe finds nothing in HTTPS and Proxies, in both themes; nothing runs over on a narrow phone; by keyboard alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAccessible, LOOKS } from './axe.mjs';
import { accountFile, fillLogin, newContext, PASSWORD, startServer } from './harness.mjs';

const https = (page) => page.locator('#https');
const proxies = (page) => page.locator('#proxies');

/** A proxy at another address, which nobody here could be. */
async function behindStranger(page) {
  await page.route('**/api/proxy/check', async (route) => {
    const answer = await (await route.fetch()).json();
    await route.fulfill({ json: { ...answer,
      peer: '192.0.2.40', peer_trusted: false, address: '192.0.2.40', network: 'internet', host: 'pve.example.net', host_allowed: false,
      headers: [{ name: 'x-forwarded-for', value: '203.0.113.9, 198.51.100.24', believed: false }, { name: 'x-forwarded-proto', value: 'https', believed: true }],
      chain: [{ address: '192.0.2.40', trusted: false, why: 'untrusted_peer' }], suggestion: '192.0.2.40/32', trusted_from: 'settings',
      seen: [
        { address: '192.0.2.40', last_seen_at: new Date().toISOString(), requests: 214 },
        // As long as an address can be.
        { address: '2001:db8:1234:5678:9abc:def0:1234:5678', last_seen_at: new Date().toISOString(), requests: 1 },
      ],
    } });
  });
}

for (const { theme, width } of LOOKS) {
  test(`axe finds nothing in HTTPS and Proxies, ${theme}, ${width} px`, async () => {
    const server = await startServer({ state: accountFile() });
    const { page } = await newContext({ theme, width, bypassCSP: true });
    await behindStranger(page);
    await page.goto(`${server.url}/security`);
    await fillLogin(page);
    await proxies(page).getByText('192.0.2.40 speaks for others and is not trusted').waitFor();
    await assertAccessible(page, 'a stranger');
    await https(page).getByRole('radio', { name: 'Your own files' }).check();
    await https(page).getByRole('button', { name: 'Check' }).click();
    await https(page).getByText('Name the file.').first().waitFor();
    await assertAccessible(page, 'nothing typed');
    await https(page).getByLabel('Certificate file').fill('/nonexistent/cert.pem');
    await https(page).getByLabel('Key file').fill('/nonexistent/key.pem');
    await https(page).getByRole('button', { name: 'Check' }).click();
    await https(page).getByText('This certificate cannot be used. Nothing was changed.').waitFor();
    await assertAccessible(page, 'checks');
    await proxies(page).getByRole('button', { name: 'Trust it… 192.0.2.40' }).click();
    await page.getByRole('dialog', { name: 'Trust 192.0.2.40?' }).waitFor();
    await assertAccessible(page, 'what trust means');
    await page.keyboard.press('Escape');
    await proxies(page).getByRole('button', { name: 'Ready configuration for Nginx' }).click();
    await page.getByRole('dialog').locator('pre').waitFor();
    await assertAccessible(page, 'a configuration');
  });
}

test('in Spanish at 320 px nothing runs over, and no gap opens between the headers', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ width: 320, height: 700, locale: 'es-ES' });
  await behindStranger(page);
  await page.goto(`${server.url}/security`);
  await page.getByLabel('Usuario').fill('owner');
  await page.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Entrar', exact: true }).click();
  await proxies(page).getByText('192.0.2.40 habla por otros y no es de confianza').waitFor();
  await https(page).getByRole('radio', { name: 'Tus propios archivos' }).check();
  await proxies(page).getByRole('button', { name: 'Configuración lista para Traefik' }).click();
  await page.getByRole('dialog').locator('pre').waitFor();
  assert.equal(await page.evaluate(() => Math.max(document.documentElement.scrollWidth - innerWidth, ...[...document.querySelectorAll('dialog')].map((dialog) => dialog.scrollWidth - dialog.clientWidth))), 0);
  await page.keyboard.press('Escape');
  const header = proxies(page).getByRole('listitem').filter({ hasText: 'x-forwarded-proto' });
  const { height } = await header.boundingBox();
  assert.ok(height < 60, `a header takes ${height} px`);
});

test('by keyboard: a source is chosen, what is wrong is told, and a question is left again', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.goto(`${server.url}/security`);
  await fillLogin(page);
  await https(page).getByRole('radio', { name: /^Self-signed/ }).focus();
  await page.keyboard.press('ArrowUp');
  assert.equal(await https(page).getByRole('radio', { name: 'Your own files' }).isChecked(), true);
  await page.keyboard.press('Tab');
  await page.keyboard.type('cert.pem');
  await page.keyboard.press('Enter');
  await https(page).getByText('Give the full path on the host, from the first slash on.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'cert-path');
  await proxies(page).getByLabel('Add a network').focus();
  await page.keyboard.type('0.0.0.0/0');
  await page.keyboard.press('Enter');
  await proxies(page).getByText('This would trust everyone.', { exact: false }).waitFor();
  await page.keyboard.type('192.0.2.40');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Trust 192.0.2.40?' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
});
