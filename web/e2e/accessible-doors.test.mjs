// axe finds nothing on any door, in both themes.

import { test } from 'node:test';
import { assertAccessible, LOOKS } from './axe.mjs';
import { accountFile, fillLogin, newContext, startServer, waitForHeading } from './harness.mjs';

for (const { theme, width } of LOOKS.slice(0, 2)) {
  test(`doors, ${theme}, ${width} px`, async () => {
    const fresh = await startServer();
    const { page } = await newContext({ theme, width, bypassCSP: true });
    await page.goto(fresh.url);
    await waitForHeading(page, 'Protect Your Dashboard?');
    await assertAccessible(page, 'first launch');
    await page.getByRole('button', { name: 'Yes, Setup Password' }).click();
    await waitForHeading(page, 'Set up your password');
    await page.getByLabel('Password', { exact: true }).fill('owner');
    await page.getByRole('button', { name: 'Save and sign in' }).click();
    await page.getByText('Choose a user name.').waitFor();
    await assertAccessible(page, 'set-up with errors');
    await page.goto(fresh.url);
    await page.getByRole('button', { name: 'No, Continue Without Protection' }).click();
    await page.getByRole('article').first().waitFor();
    await assertAccessible(page, 'overview in open mode');
    await page.goto(`${fresh.url}/security`);
    await waitForHeading(page, 'Not protected');
    await assertAccessible(page, 'security in open mode');
  
    const server = await startServer({ state: accountFile({ totp: true }) });
    await page.goto(server.url);
    await page.getByLabel('Username').waitFor();
    await assertAccessible(page, 'sign-in');
    await fillLogin(page, 'wrong');
    await page.getByText('User name and password do not match.').waitFor();
    await assertAccessible(page, 'wrong password');
    await fillLogin(page);
    await waitForHeading(page, 'Second step');
    await assertAccessible(page, 'second step');
    await page.getByRole('button', { name: 'Locked out?' }).click();
    await waitForHeading(page, 'Locked out?');
    await assertAccessible(page, 'recovery');
    await page.route('**/api/auth/login', (route) => route.fulfill({ status: 429, json: { success: false, code: 'too_many_attempts', message: 'm', error: 'e', retry_after: 90, until: new Date(Date.now() + 90_000).toISOString(), address: '192.0.2.7', subject: 'address' } }));
    await page.goto(server.url);
    await fillLogin(page);
    await waitForHeading(page, 'Too many tries');
    await assertAccessible(page, 'rate limited');
    await server.lock();
    await page.goto(server.url);
    await page.getByRole('heading', { level: 1, name: / is locked$/ }).waitFor();
    await assertAccessible(page, 'locked');
    await server.kill();
    await page.route('**/api/**', (route) => route.abort());
    await page.goto(fresh.url);
    await page.getByRole('heading', { level: 1, name: /^No answer/ }).waitFor();
    await assertAccessible(page, 'no answer');
  });
}
