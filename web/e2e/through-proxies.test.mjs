// Through real reverse proxies with the printed snippets: the page, a picture, a terminal, and who is counted and logged.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { chromium } from 'playwright-core';
import { accountFile, CHROMIUM_OPTIONS, fillLogin, PASSWORD, pngOf, startServer, USERNAME, waitForTitle } from './harness.mjs';
import { ask, askDirectly, askWithoutTls, resolverRules, SITES, startProxies } from './proxies.mjs';

const MIB = 1024 * 1024;
const IDLE_MS = 70_000;
const WRONG = { username: USERNAME, password: 'wrong-Password1' };
const RIGHT = { username: USERNAME, password: PASSWORD };

let server;
let proxies;
let browser;
let terminals;

before(async () => {
  // The proxies connect from 127.0.0.1; whoever else is on loopback is a stranger here.
  server = await startServer({ state: accountFile(), settings: 'trusted_proxies = ["127.0.0.1"]\n' });
  const owner = await server.signIn();
  proxies = await startProxies((kind, { host, base }) => printedSnippet(owner, { kind, host, path: base }));
  browser = await chromium.launch({ ...CHROMIUM_OPTIONS, args: [...CHROMIUM_OPTIONS.args, `--host-resolver-rules=${resolverRules()}`] });
  // They are idle while the other stories run.
  terminals = [];
  for (const site of SITES) {
    const { json: { token } } = await ask(site, 'POST', 'api/auth/login', { from: addressOf(site, 9), body: RIGHT });
    const page = await openTerminal(site, token);
    terminals.push(leaveIdle(site, page).then(() => undefined, (error) => error));
  }
});

after(async () => {
  await browser?.close();
  await proxies?.stop();
});

/** Returns the configuration that the server prints for a site. */
async function printedSnippet(owner, wanted) {
  const answer = await server.call('GET', `proxy/snippet?${new URLSearchParams(wanted)}`, undefined, owner);
  assert.equal(answer.success, true, JSON.stringify(answer));
  return answer.snippet;
}

/** Returns the address of one of the clients of a site. */
function addressOf(site, client) {
  return `127.1.${site.index}.${client}`;
}

/** Opens a browser of its own, and notes what goes wrong in it. */
async function newPage() {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB' });
  context.setDefaultTimeout(30_000);
  const wrong = [];
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !message.text().startsWith('Failed to load resource')) wrong.push(message.text());
  });
  context.on('weberror', (error) => { wrong.push(String(error.error())); });
  context.on('requestfailed', (request) => {
    // What a reload or a sign-out interrupts.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') wrong.push(`${request.url()}: ${request.failure()?.errorText}`);
  });
  context.on('response', (response) => {
    if (response.status() >= 400) wrong.push(`${response.status()} ${response.request().method()} ${response.url()}`);
  });
  return { context, wrong, page: await context.newPage() };
}

/** Returns a PNG of exactly that many bytes: a chunk that means nothing is put before its end (PNG specification §11.3). */
function pngOfBytes(size) {
  const small = pngOf(40, 90, 160, 256);
  const end = small.length - 12;
  const body = Buffer.concat([Buffer.from('paDd', 'latin1'), randomBytes(size - small.length - 12)]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(body.length - 4, 0);
  body.copy(framed, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return Buffer.concat([small.subarray(0, end), framed, small.subarray(end)]);
}

describe('the page works', { concurrency: 3 }, () => {
  for (const site of SITES) {
    test(site.title, async () => {
      const { context, page, wrong } = await newPage();
      await page.goto(site.url.replace(/(?<=\w)\/$/, ''));
      await fillLogin(page);
      await waitForTitle(page, 'Overview');
      assert.equal(page.url(), site.url);
      await page.getByRole('link', { name: 'Security' }).first().click();
      await waitForTitle(page, 'Security');
      const cookies = await context.cookies(`${site.url}api/auth/session/resume`);
      assert.deepEqual(
        cookies.map(({ name, path, secure }) => ({ name, path, secure })).toSorted((one, other) => one.name.localeCompare(other.name)),
        ['__Secure-proxmenux_device', '__Secure-proxmenux_session'].map((name) => ({ name, path: `${site.base}api/auth`, secure: true })),
      );
      await page.reload();
      await waitForTitle(page, 'Security');

      await page.getByRole('button', { name: /^Account/ }).click();
      await page.getByRole('menuitem', { name: 'View profile' }).click();
      await waitForTitle(page, 'Profile');
      const answered = page.waitForResponse((response) => response.request().method() === 'POST' && response.url() === `${site.url}api/auth/profile/avatar`);
      await page.getByLabel('Upload').setInputFiles({ name: 'large.png', mimeType: 'image/png', buffer: pngOfBytes(2 * MIB) });
      assert.equal((await answered).status(), 200);
      await page.getByRole('button', { name: /^Account/ }).locator('img').waitFor();

      await page.getByRole('button', { name: /^Account/ }).click();
      await page.getByRole('menuitem', { name: 'Sign out' }).click();
      await page.getByText('You are signed out.').waitFor();
      // The page cannot see its cookie, so the first visit asks for a session that is not there.
      assert.deepEqual(wrong, [`401 POST ${site.url}api/auth/session/resume`]);
      await page.reload();
      await waitForTitle(page, 'Sign in');
      await context.close();
    });
  }
});

describe('the client is known', { concurrency: 3 }, () => {
  for (const site of SITES) {
    const address = (last) => addressOf(site, last);
    const signIn = (last, body, headers) => ask(site, 'POST', 'api/auth/login', { from: address(last), body, headers });

    test(`${site.title}: one client is made to wait, not the other`, async () => {
      for (let tries = 0; tries < 5; tries += 1) assert.equal((await signIn(2, WRONG)).status, 401);
      const refused = await signIn(2, RIGHT);
      assert.equal(refused.status, 429, refused.text);
      assert.ok(Number(refused.headers['retry-after']) > 0);
      assert.equal((await signIn(2, RIGHT, { 'X-Forwarded-For': address(3) })).status, 429);
      const other = await signIn(3, RIGHT);
      assert.equal(other.status, 200, other.text);

      const { json } = await ask(site, 'GET', 'api/auth/sessions', { from: address(3), headers: { Authorization: `Bearer ${other.json.token}` } });
      assert.equal(json.sessions.find((session) => session.current).address, address(3));
      assert.equal(linesOf(address(2), 'reason=sign_in').length, 5);
      assert.equal(linesOf(address(3), 'authentication success').length, 1);
      assert.equal(linesOf(address(3), 'authentication failure').length, 0);
    });

    test(`${site.title}: who forges headers is counted all the same`, async () => {
      const victim = address(5);
      const forgeries = [
        { 'X-Forwarded-For': victim },
        { 'X-Forwarded-For': `${victim}, 127.0.0.1` },
        { 'X-Forwarded-For': `203.0.113.${site.index + 1}`, 'X-Real-IP': victim, Forwarded: `for=${victim}`, 'CF-Connecting-IP': victim, 'True-Client-IP': victim },
        { 'X-Forwarded-For': [victim, '127.0.0.1', '::1'] },
        { Connection: 'close, X-Forwarded-For', 'X-Forwarded-For': '127.0.0.1' },
      ];
      for (const headers of forgeries) assert.equal((await signIn(4, WRONG, headers)).status, 401);
      assert.equal((await signIn(4, RIGHT)).status, 429);
      assert.equal(linesOf(address(4), 'reason=sign_in').length, 5);
      assert.equal(linesOf(victim, 'authentication').length, 0);
      assert.equal((await signIn(5, RIGHT)).status, 200);
    });

    test(`${site.title}: the scheme and the host are the proxy’s to say, and what is too large is the Monitor’s`, async () => {
      const { json: { token }, headers: { 'set-cookie': first } } = await signIn(6, RIGHT);
      const cookie = first.map((line) => line.split(';')[0]).join('; ');
      const resume = (headers) => ask(site, 'POST', 'api/auth/session/resume', { from: address(6), body: {}, headers: { Cookie: cookie, ...headers } });
      for (const headers of [{}, { 'X-Forwarded-Proto': 'http' }, { Connection: 'close, X-Forwarded-Proto' }, { Origin: `https://${site.host}` }]) {
        const answer = await resume(headers);
        assert.equal(answer.status, 200, answer.text);
        for (const line of [...first, ...answer.headers['set-cookie']]) assert.match(line, /^__Secure-/);
      }
      const foreign = await resume({ Origin: 'https://evil.example.net', 'X-Forwarded-Host': 'evil.example.net' });
      assert.equal(foreign.json?.code, 'foreign_origin', foreign.text);

      const upload = (size) => ask(site, 'POST', 'api/auth/profile/avatar', {
        from: address(6), headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'image/png' }, body: pngOfBytes(size),
      });
      assert.equal((await upload(2 * MIB)).status, 200);
      const refused = await upload(2 * MIB + 1);
      assert.equal(refused.status, 413, refused.text);
      assert.equal(refused.json?.success, false, refused.text);
    });
  }
});

test('nginx by host name: a request without TLS is sent to HTTPS', async () => {
  const site = SITES.find((one) => one.program === 'nginx' && one.base === '/');
  const answer = await askWithoutTls(site, '/security?a=b');
  assert.equal(answer.status, 308);
  assert.equal(answer.headers.location, `https://${site.host}/security?a=b`);
});

test('below a path the slash at its end is added, and nothing else is the Monitor’s', async () => {
  for (const site of SITES.filter((one) => one.base !== '/')) {
    const above = { ...site, base: '' };
    const bare = await ask(above, 'GET', '/hosts/pve');
    assert.ok([301, 302, 307, 308].includes(bare.status), `${site.title}: ${bare.status}`);
    assert.equal(new URL(bare.headers.location, `https://${site.host}/`).href, site.url, site.title);
    for (const path of ['/', '/hosts/', '/hosts/pvex', '/api/auth/status']) {
      assert.equal((await ask(above, 'GET', path)).status, 404, `${site.title}: ${path}`);
    }
  }
});

test('a stranger who goes round the proxies is logged and counted as such', async () => {
  const victim = '127.1.100.2';
  const attempt = (headers) => askDirectly(server, 'POST', 'api/auth/login', { from: '127.0.0.9', headers, body: WRONG });
  for (let tries = 0; tries < 5; tries += 1) {
    assert.equal((await attempt({ 'X-Forwarded-For': victim, 'X-Forwarded-Proto': 'https' })).status, 401);
  }
  assert.equal((await attempt({ 'X-Forwarded-For': victim })).status, 429);
  assert.equal(linesOf('127.0.0.9', 'reason=sign_in').length, 5);
  assert.equal(linesOf(victim, 'authentication').length, 0);
  const answer = await ask(SITES[0], 'POST', 'api/auth/login', { from: victim, body: RIGHT });
  assert.equal(answer.status, 200, answer.text);
});

describe('a terminal that was idle for 70 seconds goes on', () => {
  for (const site of SITES) {
    test(site.title, async () => {
      const error = await terminals[site.index];
      if (error !== undefined) throw error;
    });
  }
});

/** Opens a terminal from the page's origin and waits for its shell. */
async function openTerminal(site, token) {
  const { page } = await newPage();
  await page.goto(site.url);
  assert.equal(await page.evaluate(openSocket, { url: site.url, token }), 200, `${site.title}: no ticket`);
  await run(site, page, 'echo first-$((20+3))', 'first-23');
  return page;
}

/** Leaves a terminal alone, then runs a command in it. */
async function leaveIdle(site, page) {
  const read = () => page.evaluate(() => ({ closed: globalThis.terminal.closed, length: globalThis.terminal.output.length }));
  const start = await read();
  await new Promise((resolve) => { setTimeout(resolve, IDLE_MS); });
  const end = await read();
  assert.equal(end.closed, null, `${site.title}: closed while idle`);
  // A prompt may come after the first command's output, and nothing more.
  assert.ok(end.length - start.length < 300, `${site.title}: ${end.length - start.length} characters came`);
  await run(site, page, 'echo second-$((40+2))', 'second-42');
  await page.context().close();
}

/** Types a command and waits for what it prints. */
async function run(site, page, command, wanted) {
  await page.waitForFunction(() => globalThis.terminal.output !== '' || globalThis.terminal.closed !== null, undefined, { polling: 100 });
  await page.evaluate((text) => { globalThis.terminal.socket.send(text); }, `${command}\r`);
  await page.waitForFunction((text) => globalThis.terminal.output.includes(text) || globalThis.terminal.closed !== null, wanted, { polling: 100 });
  assert.equal(await page.evaluate(() => globalThis.terminal.closed), null, site.title);
}

/** In the page: returns the status of the ticket's call, and leaves the socket in `terminal`. */
async function openSocket({ url, token }) {
  const answer = await fetch(`${url}api/terminal/ticket`, {
    method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }, body: '{}',
  });
  if (!answer.ok) return answer.status;
  const { ticket } = await answer.json();
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}ws/terminal?ticket=${encodeURIComponent(ticket)}&cols=80&rows=24`);
  const terminal = { socket, output: '', closed: null };
  globalThis.terminal = terminal;
  socket.addEventListener('message', (message) => { terminal.output += message.data; });
  socket.addEventListener('close', (event) => { terminal.closed = `${event.code} ${event.reason}`; });
  return answer.status;
}

/** Returns the lines of the authentication log about an address. */
function linesOf(address, what) {
  const lines = readFileSync(join(server.folder, 'auth.log'), 'utf8').split('\n');
  return lines.filter((line) => line.includes(`rhost=${address} `) && line.includes(what));
}
