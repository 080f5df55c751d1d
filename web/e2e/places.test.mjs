// Addresses, languages, themes and sizes.

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { accountFile, assertQuiet, fillLogin, newContext, PASSWORD, signInThere, startServer, waitForHeading, waitForTitle } from './harness.mjs';

/** A proxy that serves the Monitor under `/hosts/pve/` and strips that prefix, as people write it. */
async function startPrefixProxy(target) {
  const prefix = '/hosts/pve';
  const proxy = createServer((incoming, outgoing) => {
    if (!incoming.url.startsWith(`${prefix}/`)) {
      outgoing.writeHead(404).end('not the Monitor');
      return;
    }
    const forwarded = httpRequest(new URL(incoming.url.slice(prefix.length), target), {
      method: incoming.method,
      headers: { ...incoming.headers, 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http', 'x-forwarded-host': incoming.headers.host },
    }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.on('error', () => { outgoing.writeHead(502).end(); });
    incoming.pipe(forwarded);
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  return { url: `http://127.0.0.1:${proxy.address().port}${prefix}/`, close: () => { proxy.closeAllConnections(); proxy.close(); } };
}

test('each page has its address and its title, Back works, and the focus follows', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await signInThere(page, server.url);
  const rail = page.getByRole('navigation', { name: 'Main', exact: true });

  await rail.getByRole('link', { name: 'Security' }).click();
  await waitForTitle(page, 'Security');
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1');
  assert.equal(new URL(page.url()).pathname, '/security');
  assert.equal(await rail.getByRole('link', { name: 'Security' }).getAttribute('aria-current'), 'page');
  await rail.getByRole('link', { name: 'Settings' }).click();
  await waitForTitle(page, 'Settings');
  await page.goBack();
  await waitForTitle(page, 'Security');
  await page.goForward();
  await waitForTitle(page, 'Settings');
  await page.reload();
  await waitForTitle(page, 'Settings');
  await page.goto(`${server.url}/nowhere/at/all`);
  await waitForHeading(page, 'Nothing here');
  await page.getByRole('link', { name: 'Go to the overview' }).click();
  await waitForTitle(page, 'Overview');
});

test('under a path that a proxy strips everything works as at the root', async () => {
  const server = await startServer({ state: accountFile() });
  const proxy = await startPrefixProxy(server.url);
  try {
    const { page, context, seen } = await newContext();
    await page.goto(proxy.url);
    await fillLogin(page);
    await waitForTitle(page, 'Overview');
    await page.getByRole('link', { name: 'Security' }).first().click();
    await waitForTitle(page, 'Security');
    assert.equal(new URL(page.url()).pathname, '/hosts/pve/security');
    await page.reload();
    await waitForTitle(page, 'Security');
    await page.goto(`${proxy.url}no/such/page`);
    await waitForHeading(page, 'Nothing here');
    const cookies = await context.cookies(`${proxy.url}api/auth/session/resume`);
    assert.ok(cookies.length > 0 && cookies.every((cookie) => cookie.path === '/hosts/pve/api/auth'), JSON.stringify(cookies));
    assert.deepEqual(seen.requests.filter((request) => !request.includes(' /hosts/pve/')), []);
    assertQuiet(seen, new URL(proxy.url).host);
  } finally {
    proxy.close();
  }
});

test('Spanish is chosen by the browser, and can be switched and remembered', async () => {
  const server = await startServer();
  const { page, seen } = await newContext({ locale: 'es-ES' });
  await page.goto(server.url);
  await waitForHeading(page, '¿Proteger tu panel?');
  assert.equal(await page.getAttribute('html', 'lang'), 'es');
  await page.getByRole('button', { name: 'Sí, elegir contraseña' }).click();
  await page.getByLabel('Usuario').fill('dueña');
  await page.getByLabel('Contraseña', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Guardar y entrar' }).click();
  await waitForTitle(page, 'Resumen');

  await page.getByRole('link', { name: 'Ajustes' }).first().click();
  await page.getByLabel('Idioma').selectOption('en');
  await waitForHeading(page, 'Settings');
  assert.equal(await page.getAttribute('html', 'lang'), 'en');
  await page.reload();
  await waitForHeading(page, 'Settings');
  assert.deepEqual(await page.evaluate(() => ({ ...localStorage })), { 'monitor-language': 'en' });
  await page.getByRole('button', { name: 'Account: dueña' }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await page.getByLabel('Username').fill('dueña');
  await page.getByLabel('Password', { exact: true }).fill('incorrecta');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('User name and password do not match.').waitFor();
  assertQuiet(seen, new URL(server.url).host);
});

test('the theme follows the system until it is chosen, then is remembered and shared', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, context } = await newContext({ theme: 'dark' });
  await signInThere(page, server.url);
  const ground = (where) => where.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground(page);
  await page.emulateMedia({ colorScheme: 'light' });
  const light = await ground(page);
  assert.notEqual(dark, light);
  const tab = await context.newPage();
  await tab.emulateMedia({ colorScheme: 'light' });
  await tab.goto(`${server.url}/settings`);
  await waitForTitle(tab, 'Settings');

  await tab.getByRole('radio', { name: 'Dark' }).check();
  assert.equal(await ground(tab), dark);
  await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark');
  assert.equal(await ground(page), dark);
  await page.reload();
  assert.equal(await page.getAttribute('html', 'data-theme'), 'dark', 'before the page has started');
  await page.getByRole('button', { name: 'Theme: Dark' }).click();
  await page.getByRole('button', { name: 'Theme: System' }).click();
  await page.getByRole('button', { name: 'Theme: Light' }).waitFor();
  assert.deepEqual(await page.evaluate(() => ({ ...localStorage })), { 'monitor-theme': 'light' });
});

for (const width of [320, 390, 768]) {
  test(`at ${width} px nothing runs out of the page, in both languages`, async () => {
    for (const locale of ['en-GB', 'es-ES']) {
      const server = await startServer({ state: accountFile() });
      const { page } = await newContext({ width, height: 700, locale });
      const runsOver = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      await page.goto(server.url);
      await page.locator('#username').fill('owner');
      assert.equal(await runsOver(), false, 'sign-in');
      await page.locator('#password').fill(PASSWORD);
      await page.keyboard.press('Enter');
      await page.locator('nav.bar').waitFor();
      for (const path of ['/', '/terminal', '/security', '/profile', '/settings']) {
        await page.goto(server.url + path);
        await page.locator({ '/': 'article', '/terminal': '.xterm-rows' }[path] ?? '.panel').first().waitFor();
        assert.equal(await runsOver(), false, `${path} in ${locale}`);
      }
    }
  });
}

test('the overview shows this very host', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await signInThere(page, server.url);
  await page.getByRole('article', { name: 'Processor' }).waitFor();
  const token = await server.signIn();
  const snapshot = await server.call('GET', 'system', undefined, token);

  await page.getByText(snapshot.kernel_version, { exact: true }).waitFor();
  await page.getByText(snapshot.os, { exact: true }).waitFor();
  assert.match(await page.getByRole('article', { name: 'Memory' }).innerText(), new RegExp(`of ${snapshot.memory_total.toLocaleString('en-GB', { maximumFractionDigits: 1 })}\\sGiB`));
  assert.match(await page.getByRole('img', { name: /^Processor, last hour/ }).getAttribute('aria-label'), /now [\d.]+\s%/);
  await page.getByText('Not encrypted').first().waitFor();
  const before = seen.requests.filter((request) => request === 'GET /api/system').length;
  await page.waitForTimeout(6000);
  assert.ok(seen.requests.filter((request) => request === 'GET /api/system').length > before, 'asked again within six seconds');
});
