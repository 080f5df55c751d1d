// axe finds nothing in any state of the tokens, in both themes.

import { test } from 'node:test';
import { assertAccessible, LOOKS } from './axe.mjs';
import { startServer } from './harness.mjs';
import { callWith, clipboardOf, contextWithClipboard, makeToken, openSecurity, row, worn } from './tokens.mjs';

for (const { theme, width } of LOOKS) {
  test(`axe finds nothing in the tokens, ${theme}, ${width} px`, async () => {
    const { state } = worn();
    const server = await startServer({ state });
    const { page } = await contextWithClipboard({ theme, width, bypassCSP: true });
    await openSecurity(page, server);
    await row(page, 'gone').waitFor();
    await assertAccessible(page, 'list');
    await page.getByRole('button', { name: 'New token' }).click();
    await page.getByRole('radio', { name: 'full_admin' }).check();
    await page.getByRole('checkbox').check();
    await page.getByRole('button', { name: 'Make token' }).click();
    await page.getByText('Give it a name').waitFor();
    await assertAccessible(page, 'new token, with errors');
    await page.keyboard.press('Escape');
    const made = await makeToken(page, { name: 'ha-bridge' });
    for (const name of ['curl', 'Home Assistant', 'Prometheus', 'Uptime Kuma']) {
      await made.getByRole('tab', { name }).click();
      await assertAccessible(page, name);
    }
    await made.getByRole('button', { name: 'Reveal' }).click();
    await page.keyboard.press('Escape');
    await assertAccessible(page, 'leaving');
    await made.getByRole('button', { name: 'Copy token' }).first().click();
    await callWith(server, await clipboardOf(page), 'system');
    await made.getByText('First call received').waitFor();
    await assertAccessible(page, 'received');
    await made.getByRole('button', { name: 'Done' }).click();
    for (const name of ['Rotate… ha-bridge', 'Revoke… ha-bridge', 'Regenerate… gone']) {
      await page.getByRole('row').getByRole('button', { name }).click();
      await page.getByRole('dialog').waitFor();
      await assertAccessible(page, name);
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
    await row(page, 'ha-bridge').getByRole('button', { name: /^Revoke/ }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await page.getByRole('button', { name: 'Show 1 revoked' }).click();
    await assertAccessible(page, 'with revoked ones');
  });
}
