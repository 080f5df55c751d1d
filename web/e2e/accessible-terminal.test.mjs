// axe finds nothing in any state of the terminal, in both themes.

import { test } from 'node:test';
import { assertAccessible, LOOKS } from './axe.mjs';
import { accountFile, newContext, startServer } from './harness.mjs';
import { openTerminal, run, waitForPrompt, waitForText } from './terminal.mjs';

for (const { theme, width } of LOOKS) {
  test(`axe finds nothing in the terminal, ${theme}, ${width} px`, async () => {
    const server = await startServer({ state: accountFile() });
    const { page } = await newContext({ theme, width, bypassCSP: true });
    let far;
    await page.routeWebSocket('**/ws/terminal*', (socket) => {
      const to = socket.connectToServer();
      far = { end: (code) => { void socket.close({ code }); void to.close({ code: 3000 }); } };
    });
    await openTerminal(page, server.url);
    await run(page, "printf '\\033[31mred \\033[34mblue \\033[90mgrey\\033[0m\\n'; ls /");
    await waitForText(page, 'etc');
    await assertAccessible(page, 'open');
    await page.getByRole('button', { name: 'More', exact: true }).click();
    await assertAccessible(page, 'menu');
    await page.getByRole('menuitemcheckbox', { name: 'Screen reader support' }).click();
    await page.locator('.xterm-accessibility-tree').waitFor({ state: 'attached' });
    await assertAccessible(page, 'read aloud');
    await page.getByRole('button', { name: 'Search', exact: true }).click();
    await page.getByRole('search').getByRole('textbox').fill('etc');
    await page.getByText(/^\d+ of \d+$/).waitFor();
    await assertAccessible(page, 'search');
    await page.keyboard.press('Escape');
    for (const item of ['Keys…', 'Rename…', 'Close this shell…']) {
      await page.getByRole('button', { name: 'More', exact: true }).click();
      await page.getByRole('menuitem', { name: item }).click();
      await page.getByRole('dialog').waitFor();
      await assertAccessible(page, item);
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
    far.end(4003);
    await page.getByRole('button', { name: 'Confirm…' }).click();
    await page.getByRole('dialog').waitFor();
    await assertAccessible(page, 'asked');
    await page.keyboard.press('Escape');
    await assertAccessible(page, 'locked');
    await page.getByRole('button', { name: 'New shell' }).click();
    await waitForPrompt(page);
    await run(page, 'exit');
    await page.getByRole('button', { name: 'Close tab' }).waitFor();
    await assertAccessible(page, 'ended');
    await page.route('**/api/terminal/ticket', (route) => route.fulfill({ status: 409, json: { success: false, code: 'too_many_terminals', message: 'many' } }));
    await page.getByRole('button', { name: 'New shell' }).first().click();
    await page.getByRole('heading', { name: 'No shell' }).waitFor();
    await assertAccessible(page, 'refused');
  });
}
