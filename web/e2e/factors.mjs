// What the stories of the second factor and of passkeys need: an authenticator app that reads the
// QR code from the screen, and a browser with a passkey device.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { URI } from 'otpauth';
import { fillLogin, PASSWORD, waitForTitle } from './harness.mjs';

const STEP_MS = 30_000;
/** A story may take this long between reading a code and sending it. */
const MARGIN_MS = 6000;

/** Opens the Security page, signing in first. */
export async function openSecurity(page, url) {
  await page.goto(url);
  await fillLogin(page);
  await waitForTitle(page, 'Overview');
  await toSecurity(page);
}

/** Goes to the Security page by its link, in the rail or in the bar below. */
export async function toSecurity(page) {
  await page.getByRole('link', { name: 'Security', exact: true }).locator('visible=true').first().click();
  await waitForTitle(page, 'Security');
  await page.getByText('this one').waitFor();
}

/** Reads the QR code that is shown, as a camera does. */
export async function scan(image) {
  const folder = mkdtempSync(join(tmpdir(), 'monitor-qr-'));
  try {
    const file = join(folder, 'qr.png');
    writeFileSync(file, await image.screenshot());
    return execFileSync('zbarimg', ['--quiet', '--raw', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An authenticator app that has scanned a code. */
export function authenticator(uri) {
  const totp = URI.parse(uri);
  return {
    uri: totp,
    /** The code `steps` half minutes from now: each works once, and only later ones work after it. */
    async code(steps = 0) {
      const left = STEP_MS - (Date.now() % STEP_MS);
      if (left < MARGIN_MS) await new Promise((resolve) => { setTimeout(resolve, left + 100); });
      return totp.generate({ timestamp: Date.now() + steps * STEP_MS });
    },
  };
}

/** Types password, and code where one is given, into a dialog that asks who one is, and sends it. */
export async function confirm(dialog, action, { password = PASSWORD, code } = {}) {
  await dialog.getByLabel('Password', { exact: true }).fill(password);
  if (code !== undefined) await dialog.getByLabel('Verification code').fill(code);
  await dialog.getByRole('button', { name: action, exact: true }).click();
}

/** Gives a page's browser a passkey device that always says yes. */
export async function addPasskeyDevice(page, options = {}) {
  const session = await page.context().newCDPSession(page);
  await session.send('WebAuthn.enable');
  const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true, ...options },
  });
  return {
    credentials: async () => (await session.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
    clear: async () => { await session.send('WebAuthn.clearCredentials', { authenticatorId }); },
    verify: async (isUserVerified) => { await session.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified }); },
  };
}

/** The same server under the name at which passkeys work without HTTPS. */
export function atLocalhost(server) {
  return server.url.replace('127.0.0.1', 'localhost');
}

/** Tells which element has the focus. */
export async function assertFocus(page, id) {
  assert.equal(await page.evaluate(() => document.activeElement?.id), id);
}
