// The profile: the picture, the display name, and the header that follows.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountFile, assertQuiet, newContext, pngOf, signInThere, startServer, waitForTitle } from './harness.mjs';

async function openProfile(page, server) {
  await signInThere(page, server.url);
  await page.getByRole('button', { name: /^Account/ }).click();
  await page.getByRole('menuitem', { name: 'View profile' }).click();
  await waitForTitle(page, 'Profile');
}

test('a picture is uploaded, replaced and removed, and the header shows it at once', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await openProfile(page, server);
  const shown = page.getByRole('button', { name: /^Account/ }).locator('img');
  assert.equal(await shown.count(), 0);

  await page.getByLabel('Upload').setInputFiles({ name: 'one.png', mimeType: 'image/png', buffer: pngOf(200, 30, 30) });
  await shown.waitFor();
  const first = await shown.getAttribute('src');
  await page.getByRole('button', { name: 'Replace' }).waitFor();
  await page.getByLabel('Upload').setInputFiles({ name: 'two.png', mimeType: 'image/png', buffer: pngOf(30, 30, 200) });
  await page.waitForFunction((before) => document.querySelector('header img')?.getAttribute('src') !== before, first);
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove avatar' }).click();
  await shown.waitFor({ state: 'detached' });
  assertQuiet(seen, new URL(server.url).host);
});

test('a file that is no picture is refused beside the old one', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openProfile(page, server);

  await page.getByLabel('Upload').setInputFiles({ name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('these are my notes, not a picture') });
  await page.getByRole('alert').waitFor();
  await page.getByText('notes.png').waitFor();
  await page.getByRole('button', { name: 'Choose another' }).waitFor();
  await page.getByLabel('Upload').setInputFiles({ name: 'drawing.svg', mimeType: 'image/svg+xml', buffer: Buffer.from('<svg/>') });
  await page.getByText('Only PNG, JPEG, WebP and GIF images.').waitFor();
});

test('the display name is edited in place; the user name is fixed', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, context } = await newContext();
  await openProfile(page, server);
  const tab = await context.newPage();
  await tab.goto(server.url);
  await tab.getByRole('button', { name: 'Account: owner' }).waitFor();
  await page.getByRole('button', { name: 'Edit: Display name' }).click();
  const field = page.getByLabel('Display name', { exact: true });

  await field.fill('x'.repeat(65));
  await page.getByText('1 character too many.').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await page.getByRole('button', { name: 'Edit: Display name' }).evaluate((element) => element === document.activeElement), true);
  await page.keyboard.press('Enter');
  await field.fill('Señora Núñez');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Account: Señora Núñez' }).waitFor();
  await tab.getByRole('button', { name: 'Account: Señora Núñez' }).waitFor();
  await page.getByRole('button', { name: 'Edit: Display name' }).click();
  await field.fill('  ');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Account: owner' }).waitFor();
  assert.equal(await page.getByLabel('User name').count(), 0, 'there is no field for it');
});
