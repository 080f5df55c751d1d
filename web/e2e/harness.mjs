// What every story needs: the real server in a folder of its own, a browser, and an account.

import { spawn } from 'node:child_process';
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Secret, TOTP } from 'otpauth';
import { chromium } from 'playwright-core';

const BINARY = process.env.MONITOR_BINARY ?? fileURLToPath(new URL('../../target/release/proxmenux-monitor', import.meta.url));
/** A folder with another page than the one that is built in. */
const UI_DIR = process.env.MONITOR_UI_DIR;
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ITERATIONS = 600_000;

export const USERNAME = 'owner';
export const PASSWORD = 'harbour-Lamp7';
export const TOTP_SECRET = 'KV3XO7DMQ2ZTJH6RKV3XO7DMQ2ZTJH6R';
export const BACKUP_CODES = ['H7KM-2QXV', 'W4PA-9TCE', 'B3YD-6RNK'];
export const WAIT_MS = 10_000;

let browser;
const servers = new Set();

after(async () => {
  await browser?.close();
  for (const server of servers) await server.stop();
});

/** Hashes a text as the state file keeps it. */
export function hashOf(text) {
  const salt = randomBytes(16);
  const hash = pbkdf2Sync(text.normalize('NFC'), salt, ITERATIONS, 32, 'sha256');
  return `pbkdf2_sha256$${ITERATIONS}$${salt.toString('base64')}$${hash.toString('base64')}`;
}

/** Returns a state file with an account, with a second factor where one is asked for. */
export function accountFile({ totp = false } = {}) {
  return {
    enabled: true,
    declined: false,
    configured: true,
    username: USERNAME,
    password_hash: hashOf(PASSWORD),
    jwt_secret: randomBytes(48).toString('base64url'),
    totp_enabled: totp,
    totp_secret: totp ? TOTP_SECRET : null,
    backup_codes: totp ? BACKUP_CODES.map((code) => ({ code: hashOf(code), used: false })) : [],
    api_tokens: [],
    revoked_tokens: [],
    display_name: null,
    version: 2,
  };
}

/** Returns the code of the authenticator app, `offsetSeconds` away from now. */
export function totpCode(offsetSeconds = 0) {
  const totp = new TOTP({ secret: Secret.fromBase32(TOTP_SECRET), digits: 6, period: 30, algorithm: 'SHA1' });
  return totp.generate({ timestamp: Date.now() + offsetSeconds * 1000 });
}

/** A running server with its own folder; it can be stopped and started again on the same port. */
class Server {
  constructor(folder) {
    this.folder = folder;
    /** The first start picks a free port; later ones use it again. */
    this.address = '127.0.0.1:0';
    this.stateFile = join(folder, 'config', 'auth.json');
    servers.add(this);
  }

  async start() {
    const child = spawn(BINARY, [
      'serve', '--listen', this.address,
      '--config-dir', join(this.folder, 'config'),
      '--data-dir', join(this.folder, 'data'),
      '--auth-log', join(this.folder, 'auth.log'),
      '--ssl-config', join(this.folder, 'ssl.json'),
      ...(UI_DIR === undefined ? [] : ['--ui-dir', UI_DIR]),
    ], {
      // Shells begin as on a new host: what the files of this machine's owner do would be another story.
      env: { ...process.env, HOME: this.folder, SHELL: '/bin/bash' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    this.exited = new Promise((resolve) => { child.once('exit', resolve); });
    let told = '';
    child.stderr.on('data', (chunk) => { told += chunk; });
    const lines = createInterface({ input: child.stdout });
    await new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        const url = /^listening on (http:\/\/\S+)$/.exec(line)?.[1];
        if (url === undefined) return;
        this.url = url.replace(/\/$/, '');
        this.address = new URL(url).host;
        resolve();
      });
      child.once('error', reject);
      child.once('exit', () => { reject(new Error(`the server stopped:\n${told}`)); });
    });
    return this;
  }

  /** Stops it as a crash would. */
  async kill() {
    if (this.child?.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.exited;
  }

  async stop() {
    await this.kill();
    servers.delete(this);
    // A shell that is being ended may still write its history.
    for (let tries = 0; existsSync(this.folder) && tries < 50; tries += 1) {
      try {
        rmSync(this.folder, { recursive: true, force: true });
      } catch {
        await new Promise((resolve) => { setTimeout(resolve, 100); });
      }
    }
  }

  /** Replaces the state file as an editor or a command does. */
  writeState(text) {
    const next = `${this.stateFile}.next`;
    writeFileSync(next, text, { mode: 0o600 });
    renameSync(next, this.stateFile);
  }

  /** Damages the state file and waits until the server has seen it. */
  async lock() {
    this.writeState('{');
    for (let tries = 0; tries < 50; tries += 1) {
      if ((await this.call('GET', 'auth/status')).locked) return;
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
    assert.fail('the server did not see the damaged file');
  }

  readState() {
    return readFileSync(this.stateFile, 'utf8');
  }

  claimCode() {
    const file = join(this.folder, 'config', 'claim-code');
    return existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  }

  /** Signs in without the page, as another browser would. */
  async signIn(extra = {}) {
    const answer = await this.call('POST', 'auth/login', { username: USERNAME, password: PASSWORD, ...extra });
    assert.equal(answer.success, true, JSON.stringify(answer));
    return answer.token;
  }

  async call(method, path, body, token) {
    const response = await fetch(`${this.url}/api/${path}`, {
      method,
      headers: { 'Content-Type': 'application/json', ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return response.json();
  }
}

/** Starts a server: with the state file given, or as on a new host. */
export async function startServer({ state, settings } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'monitor-e2e-'));
  const config = join(folder, 'config');
  mkdirSync(config, { mode: 0o700 });
  chmodSync(config, 0o700);
  if (state !== undefined) writeFileSync(join(config, 'auth.json'), JSON.stringify(state, null, 2), { mode: 0o600 });
  if (settings !== undefined) writeFileSync(join(config, 'monitor.toml'), settings, { mode: 0o600 });
  return new Server(folder).start();
}

/** How Chromium is started. */
export const CHROMIUM_OPTIONS = {
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
};

/** Opens a browser of its own: no cookies, no storage. */
export async function newContext({ width = 1280, height = 800, locale = 'en-GB', theme = 'light', bypassCSP = false, motion = 'no-preference' } = {}) {
  browser ??= await chromium.launch(CHROMIUM_OPTIONS);
  const context = await browser.newContext({ viewport: { width, height }, locale, colorScheme: theme, bypassCSP, reducedMotion: motion });
  context.setDefaultTimeout(WAIT_MS);
  const seen = { hosts: new Set(), requests: [], errors: [] };
  context.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol !== 'blob:' && url.protocol !== 'data:') seen.hosts.add(url.host);
    seen.requests.push(`${request.method()} ${url.pathname}`);
  });
  context.on('console', (message) => {
    // A refusal of the server is also told on the console; nothing can prevent that.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) seen.errors.push(message.text());
  });
  context.on('weberror', (error) => { seen.errors.push(String(error.error())); });
  return { context, seen, page: await context.newPage() };
}

/** What holds after every story: no other host was asked, and nothing went wrong unseen. */
export function assertQuiet(seen, ...hosts) {
  assert.deepEqual(seen.errors, []);
  assert.deepEqual([...seen.hosts].filter((host) => !hosts.includes(host)), []);
}

/** Fills the sign-in form and sends it. */
export async function fillLogin(page, password = PASSWORD, username = USERNAME) {
  await page.getByLabel('Username').fill(username);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** Signs in through the page and waits for the overview. */
export async function signInThere(page, url) {
  await page.goto(url);
  await fillLogin(page);
  await page.getByRole('navigation', { name: 'Main', exact: true }).waitFor();
}

/** Waits until the document's title is the one wanted. */
export async function waitForTitle(page, start) {
  await page.waitForFunction((wanted) => document.title.startsWith(wanted), start);
}

/** Waits for a heading of the first level. */
export async function waitForHeading(page, name) {
  await page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
}

/** A PNG of one colour, made here so that the repository holds no pictures. */
export { pngOf } from './png.mjs';
