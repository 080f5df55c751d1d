// A certificate from a real authority through the page: obtained, tried, kept and renewed; refused where nobody answers; both ways to check a name.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { connect } from 'node:tls';
import { chromium } from 'playwright-core';
import { assertAccessible } from './axe.mjs';
import { toSecurity } from './factors.mjs';
import { accountFile, assertQuiet, CHROMIUM_OPTIONS, fillLogin, PASSWORD, startServer, waitForTitle, WAIT_MS } from './harness.mjs';
import { startPebble } from './pebble.mjs';

const NAME = 'dash.example.net';
const SILENT = 'nobody.example.net';
/** An authority asks three times and is asked in between. */
const ORDER_MS = 30_000;

let browser;
const authorities = new Set();

after(async () => {
  await browser?.close();
  for (const authority of authorities) await authority.stop();
});

/** Starts a server, an authority that finds it, and a browser that knows it by its name; its owner passes the warning of the unknown authority. */
async function start({ theme = 'light', width = 1280, height = 800, locale = 'en-GB' } = {}) {
  const server = await startServer({ state: accountFile() });
  const { port } = new URL(server.url);
  const authority = await startPebble(Number(port), { silent: [SILENT] });
  authorities.add(authority);
  browser ??= await chromium.launch({ ...CHROMIUM_OPTIONS, args: [...CHROMIUM_OPTIONS.args, `--host-resolver-rules=MAP ${NAME} 127.0.0.1`] });
  const context = await browser.newContext({ ignoreHTTPSErrors: true, bypassCSP: true, viewport: { width, height }, colorScheme: theme, locale });
  context.setDefaultTimeout(WAIT_MS);
  const seen = { hosts: new Set(), requests: [], errors: [] };
  context.on('request', (request) => {
    const url = new URL(request.url());
    seen.hosts.add(url.host);
    seen.requests.push(`${request.method()} ${url.pathname}`);
  });
  context.on('weberror', (error) => { seen.errors.push(String(error.error())); });
  return { server, authority, port, seen, page: await context.newPage(), url: `http://${NAME}:${port}` };
}

/** Signs in and goes to Security. */
async function openSecurity(page, url) {
  await page.goto(url);
  await fillLogin(page);
  await waitForTitle(page, 'Overview');
  await toSecurity(page);
}

const section = (page) => page.getByRole('region', { name: 'HTTPS', exact: true });
const get = (page) => section(page).getByRole('button', { name: 'Get the certificate' });

/** Fills the form for an authority of one's own. */
async function fill(page, { directory, root }) {
  await section(page).getByRole('radio', { name: /^From a certificate authority/ }).check();
  await section(page).getByLabel('E-mail').fill('owner@example.net');
  await section(page).getByLabel('I agree to the authority’s terms.').check();
  await section(page).getByText('More', { exact: true }).click();
  await section(page).getByLabel('Authority’s directory').fill(directory);
  await section(page).getByLabel('Authority’s root certificate').fill(root);
}

/** Opens the page over HTTPS and keeps what is on trial. */
async function keep(page) {
  await section(page).getByRole('link', { name: 'Open over HTTPS' }).click();
  await page.waitForURL(/^https:/);
  await waitForTitle(page, 'Security');
  await section(page).getByRole('button', { name: 'Keep HTTPS' }).click();
  await page.getByRole('status').filter({ hasText: 'HTTPS stays on' }).waitFor();
}

/** Returns the certificate that the server shows to a client. */
function served(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), servername: NAME, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

test('an authority is asked, its certificate goes on trial, is kept, and is asked for anew', async () => {
  const { server, authority, port, seen, page, url } = await start();
  await openSecurity(page, url);

  await fill(page, authority);
  assert.equal(await section(page).getByLabel('Names').inputValue(), NAME, 'the name in the address bar stands there');
  await assertAccessible(page, 'the form');
  await get(page).click();
  await section(page).getByText('HTTPS is on trial').first().waitFor({ timeout: ORDER_MS });
  await assertAccessible(page, 'the trial');

  await keep(page);
  await section(page).getByText(NAME, { exact: false }).first().waitFor();
  await section(page).getByText('by ACME').waitFor();
  await section(page).getByText('by itself around', { exact: false }).waitFor();
  await assertAccessible(page, 'served');
  const first = await served(port);
  assert.equal(first.subjectaltname, `DNS:${NAME}`);
  assert.match(first.issuer.CN, /^Pebble Intermediate CA/);

  await section(page).getByRole('button', { name: 'Get a new one now' }).click();
  await page.getByRole('status').filter({ hasText: 'The new certificate is served' }).or(section(page).getByText('A new certificate is on trial')).first().waitFor({ timeout: ORDER_MS });
  assert.notEqual((await served(port)).fingerprint256, first.fingerprint256);
  assertQuiet(seen, `${NAME}:${port}`, server.address);
});

test('the name is proven on the TLS port too; on a phone, in the dark', async () => {
  const { authority, port, page, url } = await start({ theme: 'dark', width: 390, height: 844 });
  await openSecurity(page, url);
  await fill(page, authority);
  await section(page).getByRole('radio', { name: /^On port 443/ }).check();
  await section(page).getByText('port 443 from the internet', { exact: false }).waitFor();
  await assertAccessible(page, 'all of the form');
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  await get(page).click();
  await section(page).getByText('HTTPS is on trial').first().waitFor({ timeout: ORDER_MS });
  await keep(page);
  assert.match((await served(port)).issuer.CN, /^Pebble Intermediate CA/);
});

test('a name for which nobody answers: what the authority met is told, and what was typed stays', async () => {
  const { server, authority, page, url } = await start({ width: 390, height: 844 });
  await openSecurity(page, url);
  await fill(page, authority);
  await section(page).getByLabel('Names').fill(SILENT);
  await get(page).click();
  await section(page).getByText('No certificate was obtained. HTTPS was left as it was.').waitFor({ timeout: ORDER_MS });
  await section(page).getByRole('listitem').filter({ hasText: 'Proof that the names lead here: failed.' }).getByText(SILENT, { exact: false }).waitFor();
  await assertAccessible(page, 'the failure');

  assert.equal(await section(page).getByLabel('Names').inputValue(), SILENT);
  assert.equal(await section(page).getByLabel('E-mail').inputValue(), 'owner@example.net');
  assert.equal(await section(page).getByLabel('I agree to the authority’s terms.').isChecked(), true);
  assert.equal(await section(page).getByLabel('Authority’s directory').inputValue(), authority.directory);
  assert.equal((await server.call('GET', 'auth/status')).success, true, 'plain HTTP still answers');

  await section(page).getByLabel('Names').fill(NAME);
  await get(page).click();
  await section(page).getByText('HTTPS is on trial').first().waitFor({ timeout: ORDER_MS });
});

test('without the terms nothing is asked, and each refusal stands beside its field', async () => {
  const { server, authority, seen, page, url } = await start();
  await openSecurity(page, url);
  await fill(page, authority);
  await section(page).getByLabel('I agree to the authority’s terms.').uncheck();
  await get(page).click();
  await section(page).getByText('Without your agreement the authority gives nothing out.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'acme-terms');
  await section(page).getByLabel('I agree to the authority’s terms.').check();
  await section(page).getByLabel('Names').fill('192.0.2.10');
  await get(page).click();
  await section(page).getByText('192.0.2.10 is an address. Write a name.').waitFor();
  assert.equal(seen.requests.includes('POST /api/ssl/acme'), false);

  await section(page).getByLabel('Names').fill(NAME);
  await section(page).getByLabel('Authority’s directory').fill('ftp://example.net/');
  await get(page).click();
  await section(page).getByText('This is not the address of a directory.', { exact: false }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'acme-directory');
  await assertAccessible(page, 'a refusal');
  const answer = await server.call('POST', 'ssl/acme', { names: [NAME], directory: authority.directory, ca_path: authority.root, agree_terms: false }, await server.signIn());
  assert.deepEqual([answer.success, answer.code, answer.field], [false, 'terms_not_agreed', 'agree_terms']);
});

test('in Spanish at 320 px: what was obtained by another way is offered, and goes on trial', async () => {
  const { server, authority, page, url } = await start({ width: 320, height: 700, locale: 'es-ES' });
  const owner = await server.signIn();
  await server.call('POST', 'ssl/acme', { names: [NAME], directory: authority.directory, ca_path: authority.root, agree_terms: true }, owner);
  const end = Date.now() + ORDER_MS;
  let order;
  do {
    await new Promise((resolve) => { setTimeout(resolve, 200); });
    ({ order } = (await server.call('GET', 'ssl/status', undefined, owner)).acme);
  } while (order.state === 'running' && Date.now() < end);
  assert.equal(order.state, 'done', order.problem);

  await page.goto(`${url}/security`);
  await page.getByLabel('Usuario').fill('owner');
  await page.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Entrar', exact: true }).click();
  await section(page).getByRole('radio', { name: /^De una autoridad/ }).check();
  await section(page).getByText('Más', { exact: true }).waitFor();
  await assertAccessible(page, 'the offer');
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  await section(page).getByRole('button', { name: /^Usar el del / }).click();
  await section(page).getByText('HTTPS está a prueba').first().waitFor();
});
