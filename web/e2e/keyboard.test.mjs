// The account menu, the skip link and reduced motion.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountFile, newContext, signInThere, startServer } from './harness.mjs';

test('the account menu works by keyboard', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await signInThere(page, server.url);
  const opener = page.getByRole('button', { name: /^Account/ });
  await opener.focus();
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim());

  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(), 'View profile');
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(), 'Sign out');
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(), 'Security');
  await page.keyboard.press('Escape');
  assert.equal(await page.getByRole('menu').count(), 0);
  assert.equal(await opener.evaluate((element) => element === document.activeElement), true);
});

test('the skip link leads past the header', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await signInThere(page, server.url);
  await page.reload();
  await page.getByRole('article').first().waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Skip to content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');
});

test('with reduced motion nothing moves', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext({ motion: 'reduce' });
  await server.lock();
  await page.goto(server.url);
  await page.getByRole('heading', { level: 1, name: / is locked$/ }).waitFor();
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
});
