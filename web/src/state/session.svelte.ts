// Who is here, and which door the page shows. The server decides both
// (`http/guard.rs`); this state only follows its word.

import * as api from '../api/client.ts';
import { ApiError } from '../api/client.ts';
import type { Profile, Refusal, SignedIn, Status, SystemInfo } from '../api/types.ts';
import { unbroken } from '../lib/format.ts';
import { clock } from './clock.svelte.ts';
import { connection } from './connection.svelte.ts';
import { BASE, BASE_HEADER, router } from './router.svelte.ts';
import { hearTabs, tellTabs, type TabMessage } from './tabs.ts';

export type Phase = 'starting' | 'offline' | 'locked' | 'first-launch' | 'login' | 'inside' | 'open';
export type SignOutReason = 'expired' | 'signed-out' | 'signed-out-elsewhere' | 'idle';

/** What did not work after the account was made. */
export interface Unfinished {
  displayName?: string;
  avatar?: string;
}

const RETRY_SECONDS = [1, 2, 4, 8, 15];
const LOCKED_POLL_MS = 2000;
const QUIET_POLL_MS = 15_000;
const LOST_POLL_MS = 3000;

class Session {
  phase = $state<Phase>('starting');
  status = $state.raw<Status | null>(null);
  info = $state.raw<SystemInfo | null>(null);
  profile = $state.raw<Profile | null>(null);
  avatarUrl = $state<string | null>(null);
  /** Why the sign-in form is shown, if it is not the first visit. */
  reason = $state<SignOutReason | null>(null);
  /** Known only from the sign-in that used a backup code. */
  backupCodesLeft = $state<number | null>(null);
  isKeptInMemory = $state(false);
  /** The idle limit, remembered for the sentence after sign-out; 0 is none. */
  idleMinutes = $state(0);
  unfinished = $state.raw<Unfinished | null>(null);
  damage = $state.raw<Refusal | null>(null);
  /** When the next try starts. */
  retryAt = $state(0);
  isRetrying = $state(false);
  claimCode = $state('');

  hostName = $derived(this.info?.hostname ?? location.hostname);
  /** The same for sentences, in which it does not break. */
  hostText = $derived(unbroken(this.hostName));
  displayName = $derived(this.profile?.display_name ?? this.profile?.username ?? this.status?.username ?? '');

  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Asks the server who is here, and goes on asking. */
  async start(): Promise<void> {
    api.connect({
      base: BASE,
      baseHeader: BASE_HEADER,
      onSessionEnded: () => { void this.#leave('expired'); },
      onReached: (reached) => { this.#reached(reached); },
      onLocked: () => { if (this.phase !== 'locked') void this.load(); },
      onPlainRefused: () => { connection.isPlainRefused = true; },
    });
    hearTabs((message) => { void this.#hear(message); });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.#scheduleNext(0);
    });
    await this.load();
  }

  /** Asks for the status and opens the door that belongs to it. */
  async load(): Promise<void> {
    clearTimeout(this.#timer);
    this.isRetrying = true;
    try {
      const [status] = await Promise.all([api.status(), this.#loadInfo()]);
      this.#take(status);
      await this.#open(status);
      this.#failures = 0;
    } catch {
      // Whatever went wrong: without a good answer nobody is taken for signed in.
      this.phase = 'offline';
      const seconds = RETRY_SECONDS[Math.min(this.#failures, RETRY_SECONDS.length - 1)] ?? 15;
      this.#failures += 1;
      this.retryAt = clock.read() + seconds * 1000;
    } finally {
      this.isRetrying = false;
      this.#scheduleNext();
    }
  }

  /** Lets in who has just signed in or set the account up. */
  async enter(answer: SignedIn): Promise<void> {
    this.reason = null;
    this.claimCode = '';
    this.backupCodesLeft = answer.backup_codes_left ?? null;
    this.isKeptInMemory = answer.kept_in_memory ?? false;
    tellTabs('signed-in');
    await this.load();
  }

  /** Ends this session everywhere in this browser. Fails if the server cannot be reached. */
  async signOut(): Promise<void> {
    await api.logout();
    tellTabs('signed-out');
    await this.#leave('signed-out');
    if (router.page !== 'overview') router.replace('overview');
  }

  /** Ends a session that nobody uses. What is shown goes away even if the server cannot be reached. */
  async endIdle(): Promise<void> {
    await api.logout().catch(() => {});
    tellTabs('signed-out');
    await this.#leave('idle');
  }

  /** Follows a change of protection: set-up, skip, or turned off. */
  async protectionChanged(): Promise<void> {
    this.claimCode = '';
    tellTabs('protection-changed');
    await this.load();
  }

  /** Forgets a session that protection's end has ended. */
  async protectionOff(): Promise<void> {
    this.#forget();
    await this.protectionChanged();
  }

  /** Shows a changed profile at once, here and in the other tabs. */
  async profileChanged(profile: Profile): Promise<void> {
    await this.#takeProfile(profile);
    tellTabs('profile-changed');
  }

  /** Asks for the status after a change of it. Silence changes nothing: the next look will tell. */
  async statusChanged(): Promise<void> {
    try {
      this.#take(await api.status());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  async #loadInfo(): Promise<void> {
    try {
      this.info = await api.systemInfo();
    } catch (error) {
      // The host name is a courtesy; the status decides whether there is a server.
      if (!(error instanceof ApiError)) throw error;
    }
  }

  #take(status: Status): void {
    if (typeof status.configured !== 'boolean' || typeof status.locked !== 'boolean') throw new ApiError('unreachable', 200);
    this.status = status;
    connection.isPlainRefused = false;
    if (this.backupCodesLeft !== null && status.authenticated) this.backupCodesLeft = status.backup_codes_left ?? null;
    this.idleMinutes = status.idle_minutes ?? this.idleMinutes;
    clock.set(status.server_time);
  }

  async #open(status: Status): Promise<void> {
    if (status.locked) {
      this.damage = await api.lockedDetails().catch(() => null);
      this.phase = 'locked';
    } else if (!status.configured) {
      this.#forget();
      this.phase = 'first-launch';
    } else if (!status.auth_enabled) {
      this.#forget();
      this.phase = 'open';
    } else if (status.authenticated || (await this.#resume())) {
      await this.#loadProfile();
      this.phase = 'inside';
      if (router.page === 'setup') router.replace('overview');
    } else {
      this.#forget();
      this.phase = 'login';
    }
  }

  /** Takes up the session of the cookie, if there is one. */
  async #resume(): Promise<boolean> {
    try {
      await api.resumeSession();
      this.#take(await api.status());
      this.reason = null;
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status >= 400 && error.status < 500) return false;
      throw error;
    }
  }

  async #loadProfile(): Promise<void> {
    await this.#takeProfile(await api.profile());
  }

  async #takeProfile(profile: Profile): Promise<void> {
    const isSameImage = this.profile?.has_avatar === profile.has_avatar && this.profile.avatar_mtime === profile.avatar_mtime;
    this.profile = profile;
    if (isSameImage && (this.avatarUrl !== null || !profile.has_avatar)) return;
    const blob = profile.has_avatar ? await api.avatar().catch(() => null) : null;
    if (this.avatarUrl !== null) URL.revokeObjectURL(this.avatarUrl);
    this.avatarUrl = blob === null ? null : URL.createObjectURL(blob);
  }

  #forget(): void {
    api.forgetToken();
    this.profile = null;
    this.backupCodesLeft = null;
    this.isKeptInMemory = false;
    this.unfinished = null;
    if (this.avatarUrl !== null) URL.revokeObjectURL(this.avatarUrl);
    this.avatarUrl = null;
  }

  async #leave(reason: SignOutReason): Promise<void> {
    if (this.phase === 'login') return;
    this.#forget();
    this.reason = reason;
    this.phase = 'login';
    // The state may have changed meanwhile: a reset on the host, or protection turned off.
    try {
      const status = await api.status();
      this.#take(status);
      if (status.locked || !status.configured || !status.auth_enabled) await this.#open(status);
    } catch {
      this.phase = 'offline';
    }
    this.#scheduleNext();
  }

  async #hear(message: TabMessage): Promise<void> {
    if (message === 'signed-out' && this.phase === 'inside') await this.#leave('signed-out-elsewhere');
    else if (message === 'signed-in' && this.phase !== 'inside') await this.load();
    else if (message === 'profile-changed' && this.phase === 'inside') await this.#loadProfile().catch(() => {});
    else if (message === 'protection-changed') await this.load();
  }

  #reached(reached: boolean): void {
    if (connection.isLost === !reached) return;
    connection.isLost = !reached;
    this.#scheduleNext();
  }

  /** Plans the next look at the server. At the first question nobody is disturbed. */
  #scheduleNext(atMostMs = Infinity): void {
    if (this.phase === 'starting' || this.phase === 'first-launch') return;
    let afterMs = connection.isLost ? LOST_POLL_MS : QUIET_POLL_MS;
    if (this.phase === 'offline') afterMs = Math.max(0, this.retryAt - clock.read());
    else if (this.phase === 'locked') afterMs = LOCKED_POLL_MS;
    this.#schedule(Math.min(afterMs, atMostMs));
  }

  #schedule(afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { void this.#poll(); }, afterMs);
  }

  async #poll(): Promise<void> {
    if (this.phase === 'offline' || this.phase === 'locked') return this.load();
    if (!document.hidden) await this.#refresh();
    this.#scheduleNext();
  }

  /** Follows the status quietly; a changed door is opened, a lost connection is only told. */
  async #refresh(): Promise<void> {
    try {
      const [status] = await Promise.all([api.status(), this.#loadInfo()]);
      this.#take(status);
      const isProtected = !status.locked && status.configured && status.auth_enabled;
      if (this.phase === 'login' ? isProtected : this.phase === 'open' ? doorIsOpen(status) : isProtected && status.authenticated) return;
      // A call with a dead token resumes the session, or ends it.
      if (this.phase === 'inside' && isProtected) await this.#loadProfile();
      else await this.#open(status);
    } catch {
      // The top line tells; a dead session has already been told by the client.
    }
  }
}

function doorIsOpen(status: Status): boolean {
  return !status.locked && status.configured && !status.auth_enabled;
}

export const session = new Session();
