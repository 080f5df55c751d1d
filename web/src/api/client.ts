// The only place that talks to the server: one function per endpoint. It keeps the session's token
// in memory and nowhere else, and knows nothing of the page.

import type { AcmeWish, ApiToken, ApiTokenWish, Ceremony, Enrolment, History, MadeApiToken, Passkey, PasskeyList, PasskeyProof, Profile, Proof, ProxyCheck, ProxyKind, ProxySnippet, Refusal, Session, SignedIn, Snapshot, Status, SystemInfo, TerminalTicket, TlsGlance, TlsStarted, TlsStatus, TlsVerdict, TlsWish } from './types.ts';

const TIMEOUT_MS = 15_000;
/** A password is checked in a queue, so an answer may take longer. */
const CREDENTIAL_TIMEOUT_MS = 40_000;

/** A refusal of the server, or `unreachable` where there was no answer worth the name. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  readonly details: Refusal;

  constructor(code: string, status: number, details: Refusal = {}) {
    super(details.message ?? code);
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
    this.details = details;
  }
}

interface Hooks {
  /** The path under which the page is served, with a slash at its end. */
  base: string;
  /** The value of `X-Monitor-Base`; empty at the root. */
  baseHeader: string;
  /** The session is dead and could not be resumed. */
  onSessionEnded: () => void;
  /** Every call tells whether the server answered. */
  onReached: (reached: boolean) => void;
  /** The server refuses everything until its state file is repaired. */
  onLocked: () => void;
  /** HTTPS has been turned on, and this page still asks over plain HTTP. */
  onPlainRefused?: () => void;
}

let hooks: Hooks = { base: '/', baseHeader: '', onSessionEnded: noop, onReached: noop, onLocked: noop };
let token: string | null = null;
let resuming: Promise<boolean> | null = null;

function noop(): void {}

/** Connects the client with the page. */
export function connect(given: Hooks): void {
  hooks = given;
}

/** Tells whether a session's token is at hand. */
export function hasToken(): boolean {
  return token !== null;
}

/** How long after the person did something the page's own questions still count as use. */
const ACTIVE_MS = 60_000;
let activeAt = Date.now();

/** Notes that the person did something: until a minute later the session is in use. */
export function noteActivity(): void {
  activeAt = Date.now();
}

/** Forgets the session's token. */
export function forgetToken(): void {
  token = null;
}

interface Call {
  method?: string;
  json?: unknown;
  body?: Blob;
  headers?: Record<string, string>;
  /** Asked by the page itself, again and again: an idle session must end all the same. */
  background?: boolean;
  /** Without a session: the token is not sent and a 401 is just a refusal. */
  anonymous?: boolean;
  timeoutMs?: number;
}

async function send(path: string, options: Call): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...options.headers };
  if (options.json !== undefined) headers['Content-Type'] = 'application/json';
  if (token !== null && options.anonymous !== true) headers['Authorization'] = `Bearer ${token}`;
  if (hooks.baseHeader !== '') headers['X-Monitor-Base'] = hooks.baseHeader;
  if (options.background === true && Date.now() - activeAt > ACTIVE_MS) headers['X-Monitor-Background'] = '1';
  try {
    return await fetch(`${hooks.base}api/${path}`, {
      method: options.method ?? 'GET',
      headers,
      body: options.json === undefined ? (options.body ?? null) : JSON.stringify(options.json),
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
      signal: AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS),
    });
  } catch {
    hooks.onReached(false);
    throw new ApiError('unreachable', 0);
  }
}

/** Sends a call; a dead session is resumed once by its cookie before it is given up. */
async function exchange(path: string, options: Call): Promise<Response> {
  const usedToken = token;
  const response = await send(path, options);
  if (response.status !== 401 || options.anonymous === true || usedToken === null) return response;
  if (token !== usedToken || (await resumeOnce())) return send(path, options);
  hooks.onSessionEnded();
  return response;
}

/** Calls that fail together share one attempt. */
function resumeOnce(): Promise<boolean> {
  resuming ??= tryResume();
  return resuming;
}

async function tryResume(): Promise<boolean> {
  try {
    await resumeSession();
    return true;
  } catch (error) {
    // Silence, or a server in trouble, ends no session.
    if (!(error instanceof ApiError) || error.status < 400 || error.status >= 500) throw error;
    token = null;
    return false;
  } finally {
    resuming = null;
  }
}

async function readJson(response: Response): Promise<Record<string, unknown>> {
  let body: unknown;
  try {
    body = await response.json();
  } catch {
    body = null;
  }
  // A proxy in front of a stopped server answers too, but not for it.
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    hooks.onReached(false);
    throw new ApiError('unreachable', response.status);
  }
  hooks.onReached(true);
  return body as Record<string, unknown>;
}

async function call<T>(path: string, options: Call = {}): Promise<T> {
  const response = await exchange(path, options);
  const body = await readJson(response);
  if (response.ok && body['success'] !== false) return body as T;
  const code = typeof body['code'] === 'string' ? body['code'] : `http_${response.status}`;
  if (code === 'locked') hooks.onLocked();
  if (code === 'https_required') hooks.onPlainRefused?.();
  throw new ApiError(code, response.status, body as Refusal);
}

async function signedIn(path: string, options: Call): Promise<SignedIn> {
  const answer = await call<SignedIn>(path, { method: 'POST', timeoutMs: CREDENTIAL_TIMEOUT_MS, ...options });
  if (typeof answer.token !== 'string') throw new ApiError('internal', 200);
  token = answer.token;
  return answer;
}

/** Sends a change that is confirmed by who one is. */
function confirmed<T = object>(path: string, json: object, method = 'POST'): Promise<T> {
  return call<T>(path, { method, json, timeoutMs: CREDENTIAL_TIMEOUT_MS });
}

export const status = (): Promise<Status> => call<Status>('auth/status', { anonymous: !hasToken() });

export const setup = (json: { username: string; password: string; claim_code?: string }): Promise<SignedIn> =>
  signedIn('auth/setup', { json, anonymous: true });

export const skip = (json: { claim_code?: string }): Promise<object> =>
  call('auth/skip', { method: 'POST', json, anonymous: true });

export const login = (json: { username: string; password: string; totp_token?: string }): Promise<SignedIn> =>
  signedIn('auth/login', { json, anonymous: true });

export const resumeSession = (): Promise<SignedIn> => signedIn('auth/session/resume', { json: {}, anonymous: true });

/** Ends the session on the server. Without an answer it lives on, and so does the token. */
export async function logout(): Promise<void> {
  try {
    await call('auth/logout', { method: 'POST', json: {} });
  } catch (error) {
    if (error instanceof ApiError && error.code === 'unreachable') throw error;
  }
  forgetToken();
}

export const changePassword = ({ password, ...proof }: Proof, newPassword: string): Promise<SignedIn> =>
  signedIn('auth/change-password', { json: { ...proof, ...(password === undefined ? {} : { old_password: password }), new_password: newPassword } });

export const disable = (json: Proof): Promise<object> => confirmed('auth/disable', json);

export const profile = (): Promise<Profile> => call<Profile>('auth/profile');

export const setDisplayName = (displayName: string): Promise<Profile> =>
  call<Profile>('auth/profile', { method: 'PUT', json: { display_name: displayName } });

export const uploadAvatar = (file: File): Promise<Profile> =>
  call<Profile>('auth/profile/avatar', { method: 'POST', body: file, headers: { 'Content-Type': file.type }, timeoutMs: 60_000 });

export const removeAvatar = (): Promise<Profile> => call<Profile>('auth/profile/avatar', { method: 'DELETE' });

/** Loads the avatar's bytes; an image element cannot send the token itself. */
export async function avatar(): Promise<Blob> {
  const response = await exchange('auth/profile/avatar', { headers: { Accept: 'image/*' } });
  if (!response.ok) throw new ApiError('not_found', response.status);
  return response.blob();
}

export const sessions = async (): Promise<Session[]> => (await call<{ sessions: Session[] }>('auth/sessions', { background: true })).sessions;

export const endSession = (id: string): Promise<object> =>
  call(`auth/sessions/${encodeURIComponent(id)}`, { method: 'DELETE' });

export const endOtherSessions = (): Promise<{ ended: number }> =>
  call<{ ended: number }>('auth/sessions', { method: 'DELETE' });

export const systemInfo = (): Promise<SystemInfo> => call<SystemInfo>('system-info', { anonymous: true });

export const system = (): Promise<Snapshot> => call<Snapshot>('system', { background: true });

export const history = (): Promise<History> => call<History>('system/history', { background: true });

// The second factor.

export const setUpTotp = (proof: Proof): Promise<Enrolment> => confirmed<Enrolment>('auth/totp/setup', proof);

export const enableTotp = (code: string): Promise<{ ended: number; backup_codes_left: number }> =>
  confirmed('auth/totp/enable', { token: code });

export const disableTotp = (proof: Proof): Promise<{ ended: number }> => confirmed('auth/totp/disable', proof);

export const renewBackupCodes = async (proof: Proof): Promise<string[]> =>
  (await confirmed<{ backup_codes: string[] }>('auth/totp/backup-codes', proof)).backup_codes;

// Passkeys.

export const passkeys = (): Promise<PasskeyList> => call<PasskeyList>('auth/passkeys', { background: true });

export const startPasskeyLogin = (): Promise<Ceremony> =>
  call<Ceremony>('auth/passkey/login/start', { method: 'POST', json: {}, anonymous: true });

export const finishPasskeyLogin = (json: PasskeyProof): Promise<SignedIn> =>
  signedIn('auth/passkey/login/finish', { json, anonymous: true });

export const startPasskeyConfirmation = (): Promise<Ceremony> =>
  call<Ceremony>('auth/passkeys/confirm/start', { method: 'POST', json: {} });

export const startPasskey = (proof: Proof): Promise<Ceremony> => confirmed<Ceremony>('auth/passkeys/register/start', proof);

export const finishPasskey = (json: PasskeyProof & { name?: string }): Promise<{ passkey: Passkey; ended: number }> =>
  confirmed('auth/passkeys/register/finish', json);

export const renamePasskey = (id: string, name: string, proof: Proof): Promise<object> =>
  confirmed(`auth/passkeys/${encodeURIComponent(id)}`, { ...proof, name }, 'PUT');

export const removePasskey = (id: string, proof: Proof): Promise<{ ended: number }> =>
  confirmed(`auth/passkeys/${encodeURIComponent(id)}`, proof, 'DELETE');

// API tokens.

export const apiTokens = async (): Promise<ApiToken[]> => (await call<{ tokens: ApiToken[] }>('auth/api-tokens', { background: true })).tokens;

export const makeApiToken = (wish: ApiTokenWish, proof: Proof): Promise<MadeApiToken> =>
  confirmed<MadeApiToken>('auth/generate-api-token', { ...proof, ...wish });

export const rotateApiToken = (id: string, overlapHours: number, proof: Proof): Promise<MadeApiToken> =>
  confirmed<MadeApiToken>(`auth/api-tokens/${encodeURIComponent(id)}/rotate`, { ...proof, overlap_hours: overlapHours });

export const revokeApiToken = (id: string): Promise<object> =>
  call(`auth/api-tokens/${encodeURIComponent(id)}`, { method: 'DELETE' });

// The terminal.

/** Asks for the one-time ticket of a shell: a new one, or one that runs on. */
export const terminalTicket = (resume: string | null, proof: Proof): Promise<TerminalTicket> =>
  confirmed<TerminalTicket>('terminal/ticket', { ...proof, ...(resume === null ? {} : { resume }) });

export const terminalHealth = (): Promise<{ terminals: number; most: number }> => call('terminal/health');

/** Opens a shell's socket. */
export function terminalSocket(ticket: string, size: { cols: number; rows: number }): WebSocket {
  const url = new URL(`${hooks.base}ws/terminal`, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = new URLSearchParams({ ticket, cols: String(size.cols), rows: String(size.rows) }).toString();
  return new WebSocket(url);
}

// HTTPS and proxies.

export const tlsStatus = (): Promise<TlsStatus> => call<TlsStatus>('ssl/status', { background: true });

/** What is told over plain HTTP while a trial runs: no token may travel there. */
export const tlsGlance = (): Promise<TlsGlance> => call<TlsGlance>('ssl/status', { anonymous: true });

/** Has a certificate checked; nothing is changed, and a bad verdict is no refusal. */
export async function checkTls(json: TlsWish): Promise<TlsVerdict> {
  try {
    return await call<TlsVerdict>('ssl/validate', { method: 'POST', json });
  } catch (error) {
    if (error instanceof ApiError && error.status === 200 && error.details.checks !== undefined) return { ...error.details, success: false } as TlsVerdict;
    throw error;
  }
}

export const startTls = (json: TlsWish): Promise<TlsStarted> => call<TlsStarted>('ssl/configure', { method: 'POST', json });

/** Has an authority asked for a certificate; the status tells how that goes on. */
export const orderCertificate = (json: AcmeWish): Promise<object> => call('ssl/acme', { method: 'POST', json });

export const keepTls = (): Promise<object> => call('ssl/confirm', { method: 'POST', json: {} });

export const endTls = (): Promise<object> => call('ssl/disable', { method: 'POST', json: {} });

export const proxyCheck = (): Promise<ProxyCheck> => call<ProxyCheck>('proxy/check', { background: true });

export const trustProxy = (network: string): Promise<object> => call('proxy/trust', { method: 'POST', json: { network } });

export const distrustProxy = (network: string): Promise<object> => call('proxy/trust', { method: 'DELETE', json: { network } });

export const proxySnippet = (kind: ProxyKind, host: string, path: string): Promise<ProxySnippet> =>
  call<ProxySnippet>(`proxy/snippet?${new URLSearchParams({ kind, host, path }).toString()}`);

/** Opens a WebSocket, has one text sent back, and returns the milliseconds that took. */
export function socketRoundTrip(path: string, timeoutMs: number): Promise<number> {
  const url = new URL(hooks.base + path, location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  return new Promise((resolve, reject) => {
    const fail = (): void => { reject(new ApiError('unreachable', 0)); };
    const timer = setTimeout(() => { socket.close(); fail(); }, timeoutMs);
    const socket = new WebSocket(url);
    let sentAt = 0;
    socket.addEventListener('open', () => {
      sentAt = performance.now();
      socket.send('round-trip');
    });
    socket.addEventListener('message', ({ data }) => {
      if (data === 'round-trip') resolve(performance.now() - sentAt);
      else fail();
      socket.close();
    });
    // A close before the echo is a failure; after it nothing is left to settle.
    socket.addEventListener('close', () => {
      clearTimeout(timer);
      fail();
    });
  });
}

/** Returns what the server tells of its damaged state file; little to strangers. */
export async function lockedDetails(): Promise<Refusal> {
  const body = await readJson(await send('system', { anonymous: true }));
  return body as Refusal;
}

/** Loads a file of the page itself. */
export async function pageAsset(url: string): Promise<string> {
  const response = await fetch(url, { credentials: 'same-origin' });
  if (!response.ok) throw new ApiError('not_found', response.status);
  return response.text();
}
