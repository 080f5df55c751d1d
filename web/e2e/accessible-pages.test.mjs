// axe finds nothing on any page behind the door, in both themes.

import { test } from 'node:test';
import { assertAccessible, LOOKS } from './axe.mjs';
import { accountFile, fillLogin, newContext, startServer } from './harness.mjs';

for (const { theme, width } of LOOKS) {
  test(`pages, ${theme}, ${width} px`, async () => {
    const server = await startServer({ state: accountFile() });
    await server.signIn();
    const { page } = await newContext({ theme, width, bypassCSP: true });
    await page.goto(server.url);
    await fillLogin(page);
    await page.getByRole('article').first().waitFor();
    await assertAccessible(page, 'overview');
    await page.getByRole('button', { name: /^Account/ }).click();
    await assertAccessible(page, 'account menu');
    for (const path of ['profile', 'settings', 'security', 'nowhere']) {
      await page.goto(`${server.url}/${path}`);
      await page.getByRole('heading', { level: 1 }).waitFor();
      if (path === 'security') await page.getByText('this one').waitFor();
      await assertAccessible(page, path);
    }
    await page.goto(`${server.url}/security`);
    await page.getByText('this one').waitFor();
    for (const opener of ['Change the password', 'Turn protection off…', 'End all others…']) {
      await page.getByRole('button', { name: opener }).click();
      await page.getByRole('dialog').waitFor();
      await assertAccessible(page, opener);
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
    await page.goto(`${server.url}/profile`);
    await page.getByRole('button', { name: 'Edit: Display name' }).click();
    await assertAccessible(page, 'editing the display name');
  });
}
