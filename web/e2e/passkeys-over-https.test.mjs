// Passkeys under a host name over HTTPS that the Monitor does itself, in a browser that trusts its certificate.

import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { chromium } from 'playwright-core';
import { addPasskeyDevice, confirm, toSecurity } from './factors.mjs';
import { accountFile, CHROMIUM_OPTIONS, fillLogin, startServer, waitForTitle, WAIT_MS } from './harness.mjs';

const NAME = 'dash.example.net';

/** Returns the digest of the key that the server's certificate holds. */
function keyDigest(address) {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, servername: NAME, rejectUnauthorized: false }, () => {
      const { publicKey } = new X509Certificate(socket.getPeerCertificate().raw);
      socket.destroy();
      resolve(createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('base64'));
    });
    socket.once('error', reject);
  });
}

test('under a host name over HTTPS a passkey is made, and opens the door alone', async (t) => {
  const server = await startServer({ state: accountFile(), settings: `host_names = ["${NAME}"]\n` });
  const token = await server.signIn();
  assert.equal((await server.call('POST', 'ssl/configure', { source: 'self_signed' }, token)).success, true);
  const profile = mkdtempSync(join(tmpdir(), 'monitor-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    ...CHROMIUM_OPTIONS,
    args: [
      ...CHROMIUM_OPTIONS.args,
      `--host-resolver-rules=MAP ${NAME} 127.0.0.1`,
      // As if its owner had let it in: passkeys want a certificate without a fault.
      `--ignore-certificate-errors-spki-list=${await keyDigest(server.address)}`,
    ],
    locale: 'en-GB',
  });
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  const device = await addPasskeyDevice(page);
  const section = page.getByRole('region', { name: 'Passkeys' });
  await page.goto(`https://${NAME}:${new URL(server.url).port}/`);
  await fillLogin(page);
  await waitForTitle(page, 'Overview');
  await toSecurity(page);

  await section.getByRole('button', { name: 'Add passkey…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Add a passkey' });
  await dialog.getByLabel('Name', { exact: true }).fill('Laptop');
  await confirm(dialog, 'Add passkey');
  await section.getByText('Laptop', { exact: true }).waitFor();
  const [credential] = await device.credentials();
  assert.equal(credential.rpId, NAME);

  await page.getByRole('button', { name: 'Sign out' }).first().click();
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await waitForTitle(page, 'Overview');
});
