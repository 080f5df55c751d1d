// HTTPS turned on through the page: on trial, kept, taken back; a pair that cannot be used; both languages.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { assertAccessible } from './axe.mjs';
import { toSecurity } from './factors.mjs';
import { accountFile, assertQuiet, CHROMIUM_OPTIONS, fillLogin, startServer, waitForTitle, WAIT_MS } from './harness.mjs';

let browser;
after(async () => { await browser?.close(); });

/** Opens Security in a browser whose owner passes the warning of a certificate. */
async function openSecurity(server, look = {}) {
  browser ??= await chromium.launch(CHROMIUM_OPTIONS);
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...look });
  context.setDefaultTimeout(WAIT_MS);
  const seen = { hosts: new Set(), errors: [] };
  context.on('request', (request) => { seen.hosts.add(new URL(request.url()).host); });
  context.on('weberror', (error) => { seen.errors.push(String(error.error())); });
  const page = await context.newPage();
  await page.goto(server.url);
  await fillLogin(page);
  await waitForTitle(page, 'Overview');
  await toSecurity(page);
  return { page, seen };
}

const section = (page) => page.getByRole('region', { name: 'HTTPS', exact: true });

async function turnOn(page) {
  await section(page).getByRole('radio', { name: /^Self-signed/ }).check();
  await section(page).getByRole('button', { name: 'Turn HTTPS on' }).click();
  await section(page).getByText('HTTPS is on trial').first().waitFor();
}

test('on trial the page leads over, comes in without a password, and keeps it there', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await openSecurity(server);
  await turnOn(page);
  await assertAccessible(page);

  await section(page).getByRole('link', { name: 'Open over HTTPS' }).click();
  await page.waitForURL(/^https:/);
  await waitForTitle(page, 'Security');
  await section(page).getByRole('button', { name: 'Keep HTTPS' }).click();
  await page.getByRole('status').filter({ hasText: 'HTTPS stays on' }).waitFor();
  await section(page).getByText(/^On, 39\d days left$/).waitFor();
  await section(page).getByText('self-signed, made here', { exact: false }).first().waitFor();
  await assertAccessible(page);

  await page.reload();
  await waitForTitle(page, 'Security');
  await section(page).getByText(/^On, 39\d days left$/).waitFor();
  assertQuiet(seen, server.address);
});

test('what nobody keeps is taken back, and the page that waited says so', async () => {
  const server = await startServer({ state: accountFile(), settings: 'tls_trial_seconds = 5\n' });
  const { page } = await openSecurity(server);
  await turnOn(page);
  await page.getByText('The trial has ended and HTTPS was taken back.', { exact: false }).waitFor({ timeout: 20_000 });
  await section(page).getByRole('button', { name: 'Turn HTTPS on' }).waitFor();
});

test('a pair that cannot be used is refused check by check, and nothing is changed', async () => {
  const server = await startServer({ state: accountFile() });
  const file = join(server.folder, 'no.pem');
  writeFileSync(file, 'nothing\n');
  const { page } = await openSecurity(server, { viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
  await section(page).getByRole('radio', { name: /^Your own files/ }).check();
  await section(page).getByRole('button', { name: 'Check', exact: true }).click();
  await section(page).getByText('Name the file.').first().waitFor();
  await section(page).getByLabel('Certificate file').fill(file);
  await section(page).getByLabel('Key file').fill('/nonexistent.key');
  await section(page).getByRole('button', { name: 'Check', exact: true }).click();
  await section(page).getByText('This certificate cannot be used. Nothing was changed.').waitFor();
  await section(page).getByText('There is no certificate in the file', { exact: false }).waitFor();
  await section(page).getByText('There is no such file', { exact: false }).waitFor();
  await assertAccessible(page);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  assert.equal((await server.call('GET', 'auth/status')).success, true, 'plain HTTP still answers');
});

test('turned off again, the page goes on over plain HTTP; in Spanish', async () => {
  const server = await startServer({ state: accountFile() });
  const token = await server.signIn();
  await server.call('POST', 'ssl/configure', { source: 'self_signed' }, token);
  browser ??= await chromium.launch(CHROMIUM_OPTIONS);
  const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'es-ES' });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  await page.goto(server.url.replace('http:', 'https:'));
  await page.getByLabel('Usuario').fill('owner');
  await page.getByLabel('Contraseña', { exact: true }).fill('harbour-Lamp7');
  await page.getByRole('button', { name: 'Entrar', exact: true }).click();
  await page.getByRole('link', { name: 'Seguridad', exact: true }).locator('visible=true').first().click();
  await page.getByRole('button', { name: 'Conservar HTTPS' }).click();
  await page.getByRole('status').filter({ hasText: 'HTTPS queda activado' }).first().waitFor();
});
