// Proxies on the page: the way of a request, whom to trust, a configuration to paste.

import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { test } from 'node:test';
import { assertAccessible } from './axe.mjs';
import { openSecurity } from './factors.mjs';
import { accountFile, assertQuiet, newContext, startServer } from './harness.mjs';

const section = (page) => page.getByRole('region', { name: 'Proxies', exact: true });

/** A proxy that connects from an address of its own, which nobody trusts. */
async function strangeProxy(server) {
  const [host, port] = server.address.split(':');
  const proxy = createServer((incoming, outgoing) => {
    const headers = { ...incoming.headers, 'x-forwarded-for': '192.0.2.77', 'x-forwarded-host': incoming.headers.host };
    const forwarded = request({ host, port, localAddress: '127.0.0.8', method: incoming.method, path: incoming.url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.on('error', () => { outgoing.destroy(); });
    incoming.pipe(forwarded);
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  return { url: `http://127.0.0.1:${proxy.address().port}`, close: () => { proxy.closeAllConnections(); proxy.close(); } };
}

test('straight to the host: the check says so, and a WebSocket is measured', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await openSecurity(page, server.url);
  await section(page).getByText('you, straight').waitFor();
  await section(page).getByText(/^There and back in /).waitFor();
  await section(page).getByText('None came with this request').waitFor();
  await assertAccessible(page);
  assertQuiet(seen, server.address);
});

test('a proxy that nobody trusts is shown, and trusted after a word of what that means', async (t) => {
  const server = await startServer({ state: accountFile(), settings: 'trusted_proxies = ["127.0.0.1"] # mine\n' });
  const proxy = await strangeProxy(server);
  t.after(proxy.close);
  const { page } = await newContext({ width: 390, height: 844, theme: 'dark' });
  await openSecurity(page, proxy.url);
  await section(page).getByText('127.0.0.8 speaks for others and is not trusted').waitFor();
  await section(page).getByText('Does not come through', { exact: false }).waitFor();
  await section(page).getByRole('button', { name: 'Trust it… 127.0.0.8' }).click();
  const dialog = page.getByRole('dialog', { name: 'Trust 127.0.0.8?' });
  await dialog.getByText('Whoever controls it can pass for any address', { exact: false }).waitFor();
  await assertAccessible(page);
  await dialog.getByRole('button', { name: 'Trust it' }).click();
  await page.getByRole('status').filter({ hasText: '127.0.0.8 is trusted' }).waitFor();
  await section(page).getByText('192.0.2.77').first().waitFor();
  assert.equal(await section(page).getByText('speaks for others and is not trusted').count(), 0);

  await section(page).getByRole('button', { name: 'Remove 127.0.0.8' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await section(page).getByText('127.0.0.8 speaks for others and is not trusted').waitFor();
});

test('a configuration is filled in for a name or a path, and wrong ones are told beside the field', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openSecurity(page, server.url);
  await section(page).getByRole('button', { name: 'Ready configuration for Nginx' }).click();
  const dialog = page.getByRole('dialog', { name: 'Configuration for your proxy' });
  await dialog.getByLabel('Host name', { exact: true }).fill('dash.example.net');
  await dialog.getByText('server_name dash.example.net;', { exact: false }).first().waitFor();
  await assertAccessible(page);
  await dialog.getByRole('radio', { name: 'Path on a site' }).check();
  await dialog.getByLabel('Path', { exact: true }).fill('/hosts/pve/');
  await dialog.getByText('location ^~ /hosts/pve/', { exact: false }).first().waitFor();
});
