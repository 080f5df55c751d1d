// What the stories of API tokens share: tokens that a state file holds, and the way through the page.

import { createHash, createHmac, randomBytes } from 'node:crypto';
import { accountFile, fillLogin, newContext, PASSWORD } from './harness.mjs';

export const DAY_S = 86_400;
const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const stamp = (offsetSeconds) => new Date(Date.now() + offsetSeconds * 1000).toISOString().replace(/\.\d+Z/, 'Z');

/** A token as the state file keeps it, signed with the file's secret or with another one. */
export function tokenRecord(state, { name, scope, ageSeconds = 30 * DAY_S, leftSeconds = 200 * DAY_S, secret = state.jwt_secret, legacy = false }) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({
    iss: 'proxmenux-monitor', aud: 'api', username: 'owner', iat: now - ageSeconds, exp: now + leftSeconds, token_name: name,
    ...(legacy ? {} : { jti: randomBytes(24).toString('base64url'), typ: 'api', scope }),
  })}`;
  const token = `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
  const hash = sha256(token);
  return {
    token,
    record: {
      id: hash.slice(0, 16), name, token_hash: hash, token_prefix: `…${token.slice(-4)}`, created_at: stamp(-ageSeconds), expires_at: stamp(leftSeconds),
      ...(legacy ? {} : { signed_with: sha256(secret).slice(0, 16), scope, allowed_networks: [], terminal: false }),
    },
  };
}

/** Signs in and opens the Security page; `code` gives the code when it is asked for. */
export async function openSecurity(page, server, { code } = {}) {
  await page.goto(`${server.url}/security`);
  await fillLogin(page);
  if (code !== undefined) await page.getByLabel('Verification code').fill(code());
  await page.getByRole('region', { name: 'API Access Tokens' }).getByRole('button', { name: 'New token' }).waitFor();
}

export const row = (page, name) => page.getByRole('region', { name: 'API Access Tokens' }).getByRole('row').filter({ hasText: name }).first();

/** Fills the form for a new token and sends it; returns the dialog that shows it. */
export async function makeToken(page, { name, scope = 'read_only', networks = '' }) {
  await page.getByRole('button', { name: 'New token' }).click();
  const form = page.getByRole('dialog', { name: 'New token' });
  await form.getByLabel('Name').fill(name);
  await form.getByRole('radio', { name: scope }).check();
  await form.getByLabel('Only from').fill(networks);
  await form.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await form.getByRole('button', { name: 'Make token' }).click();
  const made = page.getByRole('dialog', { name: `Token for ${name}` });
  await made.waitFor();
  return made;
}

export async function clipboardOf(page) {
  return page.evaluate(() => navigator.clipboard.readText());
}

/** Copies the shown token and closes its dialog. */
export async function takeToken(page, made) {
  await made.getByRole('button', { name: 'Copy token' }).click();
  await made.getByText('Copied').first().waitFor();
  const token = await clipboardOf(page);
  await made.getByRole('button', { name: 'Done' }).click();
  await made.waitFor({ state: 'detached' });
  return token;
}

export async function callWith(server, token, path) {
  return (await fetch(`${server.url}/api/${path}`, { headers: { Authorization: `Bearer ${token}` } })).status;
}

export async function contextWithClipboard(options) {
  const opened = await newContext(options);
  await opened.context.grantPermissions(['clipboard-read', 'clipboard-write']);
  return opened;
}

/** A host with tokens in every state that a file can hold. */
export function worn() {
  const state = accountFile();
  const earlier = randomBytes(48).toString('base64url');
  const made = {
    ending: tokenRecord(state, { name: 'prometheus', scope: 'metrics', leftSeconds: DAY_S / 2 }),
    unused: tokenRecord(state, { name: 'backup-job', scope: 'full_admin', ageSeconds: 3 * DAY_S }),
    invalid: tokenRecord(state, { name: 'uptime-kuma', scope: 'read_only', secret: earlier }),
    legacy: tokenRecord(state, { name: 'old-script', legacy: true }),
    expired: tokenRecord(state, { name: 'gone', scope: 'read_only', leftSeconds: -DAY_S }),
  };
  state.api_tokens = Object.values(made).map(({ record }) => record);
  return { state, made };
}
