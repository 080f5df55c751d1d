// The session's life: reload, two tabs, its end, a server that is away, a state file that is damaged.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountFile, assertQuiet, fillLogin, newContext, signInThere, startServer, waitForHeading, waitForTitle } from './harness.mjs';

test('a reload goes on where one was, and nothing secret is in the browser’s storage', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, context, seen } = await newContext();
  await signInThere(page, server.url);
  await page.goto(`${server.url}/security`);
  await page.reload();

  await waitForTitle(page, 'Security');
  const kept = await page.evaluate(() => ({ local: { ...localStorage }, session: { ...sessionStorage }, cookie: document.cookie }));
  assert.deepEqual(kept, { local: {}, session: {}, cookie: '' });
  const cookies = await context.cookies();
  assert.ok(cookies.length > 0 && cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === 'Strict' && cookie.path === '/api/auth'), JSON.stringify(cookies));
  assertQuiet(seen, new URL(server.url).host);
});

test('signing out ends the session on the server, in every tab', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, context } = await newContext();
  await signInThere(page, server.url);
  const other = await context.newPage();
  await other.goto(`${server.url}/security`);
  await waitForTitle(other, 'Security');

  await page.getByRole('button', { name: /^Account/ }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();

  await page.getByText('You are signed out.').waitFor();
  await other.getByText('You signed out in another tab.').waitFor();
  await page.reload();
  await waitForTitle(page, 'Sign in');
  const token = await server.signIn();
  const { sessions } = await server.call('GET', 'auth/sessions', undefined, token);
  assert.equal(sessions.length, 1, 'only the one made to look');
});

test('signing in opens the other tabs too', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, context } = await newContext();
  await page.goto(server.url);
  const other = await context.newPage();
  await other.goto(`${server.url}/profile`);
  await waitForTitle(other, 'Sign in');
  await fillLogin(page);

  await waitForTitle(page, 'Overview');
  await waitForTitle(other, 'Profile');
});

test('a session that was ended elsewhere asks to sign in, and goes on where it was', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await signInThere(page, server.url);
  await page.getByRole('link', { name: 'Settings' }).first().click();
  await waitForTitle(page, 'Settings');
  const token = await server.signIn();
  await server.call('DELETE', 'auth/sessions', undefined, token);
  await page.getByRole('link', { name: 'Security' }).first().click();

  await page.getByText('Your session has ended. Sign in to go on where you were.').waitFor();
  await fillLogin(page);
  await waitForTitle(page, 'Security');
});

test('whatever is wrong with the status, nobody is taken for signed in', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await signInThere(page, server.url);

  for (const answer of [
    { status: 500, json: { success: false, code: 'internal', error: 'x', message: 'x' } },
    { status: 200, body: '<html>a proxy</html>', contentType: 'text/html' },
    { status: 200, json: {} },
    { status: 200, json: null },
  ]) {
    await page.route('**/api/auth/status', (route) => route.fulfill(answer));
    await page.goto(server.url);
    await page.getByRole('heading', { level: 1, name: /^No answer from / }).waitFor();
    assert.equal(await page.getByRole('navigation').count(), 0);
    await page.unroute('**/api/auth/status');
  }
  await page.getByRole('button', { name: 'Try now' }).click();
  await waitForTitle(page, 'Overview');
});

test('while the server is away a line says so, and the page goes on by itself', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await signInThere(page, server.url);
  await page.getByRole('heading', { name: 'Processor' }).waitFor();
  await server.kill();

  const line = page.getByText(/^No connection to /);
  await line.waitFor({ timeout: 15_000 });
  assert.equal(await page.getByRole('navigation', { name: 'Main', exact: true }).count(), 1, 'no white page');
  await waitForHeading(page, 'Waiting for readings');
  await server.start();
  await line.waitFor({ state: 'detached', timeout: 15_000 });
  await page.getByRole('link', { name: 'Profile' }).or(page.getByRole('link', { name: 'Security' })).first().click();
  await waitForTitle(page, 'Security');
  assertQuiet(seen, new URL(server.url).host);
});

test('opened while the server is away, the page waits and opens', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.route('**/api/**', (route) => route.abort());
  await page.goto(server.url);
  await page.getByRole('heading', { level: 1, name: /^No answer from / }).waitFor();
  await page.unroute('**/api/**');

  await page.getByLabel('Username').waitFor();
});

test('a part of the page that is gone, after an update, asks to load the page again', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await signInThere(page, server.url);
  await page.route('**/assets/Security-*.js', (route) => route.fulfill({ status: 404 }));
  await page.getByRole('link', { name: 'Security' }).first().click();

  await page.getByText('A part of the page could not be loaded.').waitFor();
  await page.unroute('**/assets/Security-*.js');
  await page.getByRole('button', { name: 'Load the page again' }).click();
  await page.getByText('this one').waitFor();
});

test('a damaged state file locks the page with what to do, and a good one opens it', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await signInThere(page, server.url);
  const good = server.readState();
  server.writeState(good.slice(0, good.length / 2));

  await page.getByRole('heading', { level: 1, name: / is locked$/ }).waitFor({ timeout: 25_000 });
  await page.getByText(server.stateFile).waitFor();
  await page.getByText('proxmenux-monitor restore --list').waitFor();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy command: proxmenux-monitor restore', exact: true }).click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'proxmenux-monitor restore');
  server.writeState(good);
  await waitForTitle(page, 'Overview');
  assertQuiet(seen, new URL(server.url).host);
});

test('what the server warns of stands on every page, also what this page has no words for', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.route('**/api/auth/status', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: { ...await answer.json(), warnings: ['audit_log_unwritable', 'something_new'] } });
  });
  await signInThere(page, server.url);

  for (const path of ['/', '/security', '/settings']) {
    await page.goto(server.url + path);
    await page.getByText('The audit log cannot be written').waitFor();
    await page.getByText('The server reports: something_new').waitFor();
  }
});

test('a refusal that this page has no words for shows the server’s own', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await page.route('**/api/auth/login', (route) => route.fulfill({ status: 403, json: { success: false, error: 'e', code: 'something_new', message: 'The moon is in the way.' } }));
  await page.goto(server.url);
  await fillLogin(page);

  await page.getByText('The moon is in the way.').waitFor();
  assert.equal(await page.getByLabel('Username').inputValue(), 'owner');
});

test('an idle session warns and ends', async () => {
  const server = await startServer({ state: accountFile(), settings: 'idle_minutes = 10\n' });
  const { page } = await newContext();
  await page.clock.install();
  await signInThere(page, server.url);
  await page.clock.fastForward('08:30');
  await page.getByText(/You will be signed out in 1:[23]\d/).waitFor();
  await page.getByRole('button', { name: 'Stay signed in' }).click();
  await page.getByText(/You will be signed out/).waitFor({ state: 'detached' });
  await page.clock.fastForward('10:01');

  await page.getByText('Signed out after 10 minutes without activity.').waitFor();
  assert.equal(await page.getByLabel('Password', { exact: true }).inputValue(), '');
});
