// The recovery kit: what is on it, when the codes are, and that it makes one page of paper.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { confirm, openSecurity, toSecurity } from './factors.mjs';
import { accountFile, assertQuiet, BACKUP_CODES, fillLogin, newContext, startServer, waitForHeading, waitForTitle } from './harness.mjs';

const COMMANDS = ['totp disable', 'reset-password', 'auth status', 'claim-code', 'ban lift --all', 'restore'];
const sheetOf = (page) => page.getByRole('main');
const pagesOf = (pdf) => pdf.toString('latin1').match(/\/Type\s*\/Page\b/g)?.length;

/** Signs in, makes ten new codes and opens the kit with them. */
async function openKitWithCodes(page, server) {
  await page.goto(server.url);
  await fillLogin(page);
  await page.getByLabel('Verification code').pressSequentially(BACKUP_CODES[0]);
  await waitForTitle(page, 'Overview');
  await toSecurity(page);
  await page.getByRole('region', { name: 'Two-factor' }).getByRole('button', { name: 'Make ten new…' }).click();
  await confirm(page.getByRole('dialog', { name: 'Make ten new backup codes?' }), 'Make ten new');
  const dialog = page.getByRole('dialog', { name: 'Ten new backup codes', exact: true });
  const list = dialog.getByRole('list', { name: 'Backup codes' });
  await list.waitFor();
  const codes = (await list.getByRole('listitem').allInnerTexts()).map((text) => text.trim());
  await dialog.getByRole('link', { name: 'Print a recovery kit' }).click();
  await waitForHeading(page, 'Recovery kit');
  return codes;
}

test('it has an address of its own, names host, user and address, and all the ways back', async () => {
  const server = await startServer({ state: accountFile() });
  const { page, seen } = await newContext();
  await openSecurity(page, server.url);
  await page.getByRole('link', { name: 'Open the recovery kit' }).click();
  await waitForTitle(page, 'Recovery kit');
  assert.equal(new URL(page.url()).pathname, '/security/kit');
  await page.reload();
  await waitForTitle(page, 'Recovery kit');
  assert.equal(await page.getByRole('link', { name: 'Security', exact: true }).first().getAttribute('aria-current'), 'page');

  const host = (await server.call('GET', 'system-info')).hostname;
  const text = await sheetOf(page).innerText();
  for (const part of [host, 'owner', server.url, 'not over HTTPS here: no certificate', 'Two-factor is off', ...COMMANDS.map((command) => `proxmenux-monitor ${command}`)]) {
    assert.ok(text.includes(part), part);
  }
  await page.getByRole('link', { name: 'Back to Security' }).click();
  await waitForTitle(page, 'Security');
  assertQuiet(seen, new URL(server.url).host);
});

test('the codes are on it right after they were made, and nowhere once it is left', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  const codes = await openKitWithCodes(page, server);
  const list = page.getByRole('list', { name: 'Backup codes' });
  assert.deepEqual((await list.getByRole('listitem').allInnerTexts()).map((text) => text.trim()), codes);

  await page.getByRole('link', { name: 'Back to Security' }).click();
  await page.getByRole('link', { name: 'Open the recovery kit' }).click();
  assert.equal(await list.getByRole('listitem').count(), 10, 'between Security and the kit they are kept');
  await page.getByRole('link', { name: 'Overview' }).first().click();
  await waitForTitle(page, 'Overview');
  await page.goBack();
  await page.getByText('The codes can be shown only when they are made.').waitFor();
  assert.equal(await list.count(), 0);
  await page.getByRole('link', { name: 'Go there' }).click();
  await waitForTitle(page, 'Security');
});

test('signing out forgets them', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  await openKitWithCodes(page, server);
  await page.evaluate(() => { history.pushState(null, '', '/security'); dispatchEvent(new PopStateEvent('popstate')); });
  await page.getByRole('button', { name: 'Sign out' }).click();
  await fillLogin(page);
  await page.getByLabel('Verification code').fill(BACKUP_CODES[1]);
  await page.getByText('That code is not right.').waitFor();
  assert.equal(await page.evaluate(() => document.body.textContent?.match(/[A-Z0-9]{4}-[A-Z0-9]{4}/)), null);
});

for (const theme of ['light', 'dark']) {
  test(`on paper it is one page, black on white, ${theme}`, async () => {
    const server = await startServer({ state: accountFile({ totp: true }) });
    const { page } = await newContext({ theme });
    const codes = await openKitWithCodes(page, server);
    assert.equal(pagesOf(await page.pdf({ format: 'A4', preferCSSPageSize: true })), 1);

    await page.emulateMedia({ media: 'print' });
    const look = await page.evaluate(() => {
      const paper = getComputedStyle(document.documentElement);
      const sheet = getComputedStyle(document.querySelector('.sheet'));
      return { ink: sheet.color, paper: paper.getPropertyValue('--canvas').replace('#ffffff', '#fff'), scheme: paper.colorScheme };
    });
    assert.deepEqual(look, { ink: 'rgb(0, 0, 0)', paper: '#fff', scheme: 'light' });
    for (const around of [page.getByRole('navigation').first(), page.getByRole('banner'), page.getByRole('button', { name: 'Print' })]) assert.equal(await around.isVisible(), false);
    await page.getByText(codes[0]).waitFor();
  });
}

test('printing from the dialog sends the sheet alone, and leaves nothing behind', async () => {
  const server = await startServer({ state: accountFile() });
  const { page } = await newContext();
  await openSecurity(page, server.url);
  await page.evaluate(() => {
    window.print = () => {
      const visible = [...document.body.children].map((element) => `${element.className || element.id}: ${element.textContent?.includes('Recovery kit of') === true}`);
      window.printed = { visible, codes: document.querySelectorAll('.print-place ol li').length, printing: document.body.classList.contains('printing') };
      dispatchEvent(new Event('afterprint'));
    };
  });
  await page.getByRole('button', { name: 'Turn on two-factor…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Print' }).click();
  const { visible, codes, printing } = await page.evaluate(() => window.printed);
  assert.equal(codes, 10);
  assert.equal(printing, true);
  assert.ok(visible.includes('print-place: true'));
  assert.equal(await page.locator('.print-place').count(), 0);
  assert.equal(await page.evaluate(() => document.body.className), '');
});

test('who is locked out by a lost phone is told to turn two-factor off, not to reset the password', async () => {
  const server = await startServer({ state: accountFile({ totp: true }) });
  const { page } = await newContext();
  await page.goto(server.url);
  await page.getByRole('button', { name: 'Locked out?' }).click();
  const ways = page.getByRole('definition');
  await ways.first().waitFor();
  assert.match(await page.getByText('Lost phone, and no backup code').locator('xpath=following-sibling::dd[1]').innerText(), /proxmenux-monitor totp disable/);
  assert.match(await ways.first().innerText(), /totp disable/);
});
