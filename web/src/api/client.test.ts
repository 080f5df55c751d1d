// What the page makes of the server's answers.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

type Client = typeof import('./client.ts');
type Answer = { status?: number; body: unknown } | 'silence';

let client: Client;
let calls: { path: string; headers: Record<string, string>; json: unknown }[];
let answers: Record<string, Answer[]>;
const hooks = { onSessionEnded: vi.fn(), onReached: vi.fn(), onLocked: vi.fn() };

beforeEach(async () => {
  calls = [];
  answers = {};
  vi.resetModules();
  vi.clearAllMocks();
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    calls.push({ path, headers: init.headers as Record<string, string>, json: typeof init.body === 'string' ? JSON.parse(init.body) : undefined });
    const answer = answers[path]?.shift();
    if (answer === undefined || answer === 'silence') return Promise.reject(new TypeError('network'));
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body);
    return Promise.resolve(new Response(text, { status: answer.status ?? 200 }));
  });
  client = await import('./client.ts');
  client.connect({ base: '/pve/', baseHeader: '/pve', ...hooks });
});

afterEach(() => { vi.unstubAllGlobals(); });

async function signIn(): Promise<void> {
  answers['/pve/api/auth/login'] = [{ body: { success: true, token: 'first' } }];
  await client.login({ username: 'owner', password: 'x' });
}

describe('the client', () => {
  test('sends the token only once there is one, and always the base', async () => {
    await signIn();
    answers['/pve/api/auth/profile'] = [{ body: { username: 'owner' } }];
    await client.profile();

    expect(calls.map((call) => call.headers['Authorization'])).toEqual([undefined, 'Bearer first']);
    expect(calls.every((call) => call.headers['X-Monitor-Base'] === '/pve')).toBe(true);
  });

  test('says which calls the page makes by itself once the person is away', async () => {
    const start = Date.now();
    await signIn();
    answers['/pve/api/system'] = [{ body: {} }, { body: {} }, { body: {} }];
    const marked = async (at: number): Promise<boolean> => {
      vi.setSystemTime(at);
      await client.system();
      return calls.at(-1)?.headers['X-Monitor-Background'] === '1';
    };

    vi.useFakeTimers({ toFake: ['Date'] });
    expect(await marked(start + 30_000)).toBe(false);
    expect(await marked(start + 70_000)).toBe(true);
    client.noteActivity();
    expect(await marked(start + 80_000)).toBe(false);
    vi.useRealTimers();
  });

  test('takes an answer with success false for a refusal, also with status 200', async () => {
    answers['/pve/api/auth/login'] = [{ body: { success: false, code: 'totp_required', requires_totp: true, message: 'm' } }];

    await expect(client.login({ username: 'owner', password: 'x' })).rejects.toMatchObject({ code: 'totp_required', status: 200 });
    expect(client.hasToken()).toBe(false);
  });

  test.each<[string, Answer]>([
    ['no answer', 'silence'],
    ['a proxy’s error page', { status: 502, body: '<html>Bad gateway</html>' }],
    ['a page with status 200', { status: 200, body: '<html></html>' }],
    ['a list', { status: 200, body: [] }],
  ])('takes %s for silence', async (_name, answer) => {
    answers['/pve/api/auth/status'] = [answer];

    await expect(client.status()).rejects.toMatchObject({ code: 'unreachable' });
    expect(hooks.onReached).toHaveBeenLastCalledWith(false);
  });

  test('a dead token is replaced by the cookie’s session, and the call sent again', async () => {
    await signIn();
    answers['/pve/api/auth/profile'] = [{ status: 401, body: { success: false, code: 'invalid_token' } }, { body: { username: 'owner' } }];
    answers['/pve/api/auth/session/resume'] = [{ body: { success: true, token: 'second' } }];

    await expect(client.profile()).resolves.toEqual({ username: 'owner' });
    expect(calls.at(-1)?.headers['Authorization']).toBe('Bearer second');
    expect(hooks.onSessionEnded).not.toHaveBeenCalled();
  });

  test('a session that cannot be resumed has ended, once for calls that fail together', async () => {
    await signIn();
    const dead = { status: 401, body: { success: false, code: 'invalid_token' } };
    answers['/pve/api/auth/profile'] = [dead];
    answers['/pve/api/system'] = [dead];
    answers['/pve/api/auth/session/resume'] = [{ status: 401, body: { success: false, code: 'no_session' } }];

    const outcomes = await Promise.allSettled([client.profile(), client.system()]);

    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected']);
    expect(calls.filter((call) => call.path.endsWith('/resume'))).toHaveLength(1);
    expect(hooks.onSessionEnded).toHaveBeenCalled();
    expect(client.hasToken()).toBe(false);
  });

  test('silence while resuming ends no session', async () => {
    await signIn();
    answers['/pve/api/auth/profile'] = [{ status: 401, body: { success: false, code: 'invalid_token' } }];

    await expect(client.profile()).rejects.toMatchObject({ code: 'unreachable' });
    expect(hooks.onSessionEnded).not.toHaveBeenCalled();
    expect(client.hasToken()).toBe(true);
  });

  test('a refused confirmation is no dead session', async () => {
    await signIn();
    answers['/pve/api/auth/disable'] = [{ status: 403, body: { success: false, code: 'reauthentication_failed', field: 'password' } }];

    await expect(client.disable({ password: 'x' })).rejects.toMatchObject({ code: 'reauthentication_failed', details: { field: 'password' } });
    expect(client.hasToken()).toBe(true);
    expect(hooks.onSessionEnded).not.toHaveBeenCalled();
  });

  test('a missing code is a refusal also where the status is 200', async () => {
    await signIn();
    answers['/pve/api/auth/totp/backup-codes'] = [{ body: { success: false, requires_totp: true, code: 'code_required' } }, { body: { success: true, backup_codes: ['H7KM-2QXV'] } }];
    await expect(client.renewBackupCodes({ password: 'x' })).rejects.toMatchObject({ code: 'code_required', details: { requires_totp: true } });
    expect(await client.renewBackupCodes({ password: 'x', totp_code: '123456' })).toEqual(['H7KM-2QXV']);
  });

  test('a new password is confirmed by the old one, or by a passkey', async () => {
    await signIn();
    answers['/pve/api/auth/change-password'] = [{ body: { success: true, token: 'second' } }, { body: { success: true, token: 'third' } }];
    await client.changePassword({ password: 'old', totp_code: '123456' }, 'new');
    await client.changePassword({ passkey: { ceremony: 'c', credential: {} } }, 'new');
    expect(calls.slice(1).map((call) => call.json)).toEqual([
      { old_password: 'old', totp_code: '123456', new_password: 'new' },
      { passkey: { ceremony: 'c', credential: {} }, new_password: 'new' },
    ]);
  });

  test('signing out without an answer leaves the session as it is', async () => {
    await signIn();
    await expect(client.logout()).rejects.toMatchObject({ code: 'unreachable' });
    expect(client.hasToken()).toBe(true);

    answers['/pve/api/auth/logout'] = [{ body: { success: true } }];
    await client.logout();
    expect(client.hasToken()).toBe(false);
  });

  test('a locked server is told at once', async () => {
    answers['/pve/api/auth/login'] = [{ status: 503, body: { success: false, code: 'locked' } }];

    await expect(client.login({ username: 'owner', password: 'x' })).rejects.toMatchObject({ code: 'locked' });
    expect(hooks.onLocked).toHaveBeenCalledOnce();
  });
});

describe('the terminal', () => {
  test('a ticket is asked for with what is proved, and with the shell that runs on', async () => {
    answers['/pve/api/terminal/ticket'] = [{ body: { success: true, ticket: 't', terminal_id: 'a' } }, { status: 403, body: { success: false, code: 'step_up_required' } }];
    expect(await client.terminalTicket(null, {})).toMatchObject({ ticket: 't', terminal_id: 'a' });
    await expect(client.terminalTicket('a', { password: 'p', totp_code: '123456' })).rejects.toMatchObject({ code: 'step_up_required' });
    expect(calls.map((call) => call.json)).toEqual([{}, { password: 'p', totp_code: '123456', resume: 'a' }]);
  });

  test.each([
    ['https://example.net/pve/terminal', 'wss://example.net/pve/ws/terminal?ticket=a%2Bb&cols=118&rows=32'],
    ['http://192.0.2.10:8008/pve/terminal', 'ws://192.0.2.10:8008/pve/ws/terminal?ticket=a%2Bb&cols=118&rows=32'],
  ])('its socket goes where the page came from: %s', (href, socket) => {
    const opened: string[] = [];
    vi.stubGlobal('location', { href });
    vi.stubGlobal('WebSocket', function record(url: URL): void { opened.push(url.href); });
    client.terminalSocket('a+b', { cols: 118, rows: 32 });
    expect(opened).toEqual([socket]);
  });
});
