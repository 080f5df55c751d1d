// What the host says of its HTTPS, and how a trial of it goes on. A page that is left on plain HTTP
// asks without its token, which must not travel there, and follows to HTTPS once it is kept.

import * as api from '../api/client.ts';
import type { AcmeWish, CertificateInfo, TlsStatus, TlsTrial, TlsWish } from '../api/types.ts';
import { LETS_ENCRYPT } from '../lib/acme.ts';
import { addressUnder, type Scheme } from '../lib/scheme.ts';
import { clock } from './clock.svelte.ts';
import { connection } from './connection.svelte.ts';
import { codeOf, errorText } from './errors.ts';
import { router } from './router.svelte.ts';
import { session } from './session.svelte.ts';

const TRIAL_POLL_MS = 1500;
const ORDER_POLL_MS = 1000;
/** A trial lasts two minutes, unless the host is set otherwise; told only by what is left of it. */
const TRIAL_MS = 120_000;

/** How a trial ended for this page: it follows to HTTPS, it goes on over HTTP, or it has lost the host. */
export type Outcome = 'kept' | 'returned' | 'gone';

class Tls {
  status = $state.raw<TlsStatus | null>(null);
  problem = $state<string | null>(null);
  /** Known also where the status may not be asked: on plain HTTP. */
  trial = $state.raw<TlsTrial | null>(null);
  /** How long the trial lasts, for the dial. */
  trialMs = $state(TRIAL_MS);
  /** This page was there before the trial, so it proves nothing. */
  isOlderThanTrial = $state(false);
  /** What the browser should be shown on the other side. */
  expected = $state.raw<CertificateInfo | null>(null);
  outcome = $state<Outcome | null>(null);

  /** What is left of the trial, in milliseconds. */
  leftMs = $derived(this.trial === null ? 0 : Math.max(0, Date.parse(this.trial.ends_at) - clock.now));
  /** An authority is being asked for a certificate, by whomever. */
  isOrdering = $derived(this.status?.acme?.order?.state === 'running');
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Returns where a page stands under a scheme. */
  address(scheme: Scheme): string {
    return addressUnder(scheme, location, `${router.href('security')}#https`);
  }

  /** Asks how it stands. */
  async load(): Promise<void> {
    if (session.phase !== 'inside' && session.phase !== 'open') return;
    clearTimeout(this.#timer);
    try {
      if (!connection.isEncrypted && this.trial !== null) await this.#glance();
      else this.#take(await api.tlsStatus());
    } catch (error) {
      await this.#fail(error);
    }
    clearTimeout(this.#timer);
    if (this.trial !== null || this.isOrdering) this.#timer = setTimeout(() => { void this.load(); }, this.trial === null ? ORDER_POLL_MS : TRIAL_POLL_MS);
  }

  /** Puts a certificate on trial. */
  async start(wish: TlsWish, expected: CertificateInfo | null): Promise<void> {
    const revertsTo = this.status?.ssl_enabled === true ? 'https' : 'http';
    const started = await api.startTls(wish);
    this.outcome = null;
    this.expected = started.cert_info ?? expected;
    this.isOlderThanTrial = true;
    this.#setTrial({ ends_at: started.trial_ends_at, source: wish.source, reverts_to: revertsTo });
    this.trialMs = Math.max(1000, this.leftMs);
    await this.load();
  }

  /** Has an authority asked for a certificate; from here on the status is asked for every second. */
  async order(wish: AcmeWish): Promise<void> {
    await api.orderCertificate(wish);
    this.outcome = null;
    const { names, email = null, directory = LETS_ENCRYPT, challenge = 'http-01' } = wish;
    const order = { state: 'running', step: null, started_at: new Date(clock.read()).toISOString(), ended_at: null, problem: null } as const;
    const { certificate = null, renews_at = null } = this.status?.acme ?? {};
    // Until the host is asked: what it has just taken on.
    if (this.status !== null) this.status = { ...this.status, acme: { names, email, directory, challenge, order, certificate, renews_at, next_try_at: null } };
    await this.load();
  }

  /** Ends the trial by keeping what is on it. */
  async keep(): Promise<void> {
    await api.keepTls();
    this.isOlderThanTrial = false;
    await this.load();
  }

  /** Takes a trial back, or turns HTTPS off; the page goes along. */
  async end(): Promise<void> {
    const isLeft = connection.isEncrypted && this.status?.over_tls === true && this.trial?.reverts_to !== 'https';
    await api.endTls();
    this.trial = null;
    if (isLeft) location.replace(this.address('http'));
    else await this.load();
  }

  async #glance(): Promise<void> {
    const { ssl_enabled: isEnabled, trial } = await api.tlsGlance();
    if (trial !== null) this.#setTrial(trial);
    else if (isEnabled) this.#follow();
    else await this.#return();
  }

  #take(status: TlsStatus): void {
    this.status = status;
    this.problem = null;
    if (status.trial === null) {
      this.trial = null;
      this.isOlderThanTrial = false;
    } else this.#setTrial(status.trial);
  }

  #setTrial(trial: TlsTrial): void {
    this.trial = trial;
    this.trialMs = Math.max(this.trialMs, this.leftMs);
  }

  /** Kept on the other side: this page goes there too. */
  #follow(): void {
    this.trial = null;
    this.outcome = 'kept';
    location.replace(this.address('https'));
  }

  /** Plain HTTP again: the token may be sent as before. */
  async #return(): Promise<void> {
    this.trial = null;
    this.isOlderThanTrial = false;
    this.outcome = 'returned';
    connection.isPlainRefused = false;
    try {
      this.#take(await api.tlsStatus());
    } catch (error) {
      this.problem = errorText(error);
    }
  }

  async #fail(error: unknown): Promise<void> {
    const code = codeOf(error);
    if (code === 'https_required' && !connection.isEncrypted) await this.#plainRefused();
    else if (code === 'unreachable') this.#silent();
    else if (code === 'authentication_required' && this.trial !== null) await this.#return();
    else if (this.trial === null) this.problem = errorText(error);
  }

  /** Either a trial has begun elsewhere, or HTTPS is on for good. */
  async #plainRefused(): Promise<void> {
    try {
      if (this.trial !== null) this.#follow();
      else {
        const { trial } = await api.tlsGlance();
        if (trial !== null) this.#setTrial(trial);
      }
    } catch {
      // The line at the top tells where this page goes on.
    }
  }

  /** After a trial over HTTPS silence means that the host speaks plain HTTP again. */
  #silent(): void {
    const isOver = this.trial !== null && this.trial.reverts_to === 'http' && Date.parse(this.trial.ends_at) < clock.read();
    if (isOver && connection.isEncrypted) {
      this.trial = null;
      this.outcome = 'gone';
    } else if (this.status === null && this.trial === null) this.problem = errorText(undefined);
  }
}

export const tls = new Tls();
