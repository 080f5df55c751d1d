// How this page came to the host, as the Security page has it: asked once, and a WebSocket measured.

import * as api from '../../api/client.ts';
import type { ProxyCheck } from '../../api/types.ts';
import { errorText } from '../../state/errors.ts';
import { session } from '../../state/session.svelte.ts';
import { isProxied, strangersOf } from './proxies.ts';

const SOCKET_TIMEOUT_MS = 5000;

export type SocketState = { kind: 'measuring' } | { kind: 'good'; ms: number } | { kind: 'bad' };

export class ProxyWay {
  check = $state.raw<ProxyCheck | null>(null);
  problem = $state<string | null>(null);
  socket = $state.raw<SocketState>({ kind: 'measuring' });

  isProxied = $derived(this.check !== null && isProxied(this.check));
  strangers = $derived(this.check === null ? [] : strangersOf(this.check));

  /** Asks the server how it sees this request. */
  async load(): Promise<void> {
    if (session.phase !== 'inside' && session.phase !== 'open') return;
    try {
      this.check = await api.proxyCheck();
      this.problem = null;
    } catch (error) {
      this.problem = errorText(error);
    }
  }

  /** Has a text sent there and back over a WebSocket. */
  async measure(): Promise<void> {
    if (this.check === null) return;
    this.socket = { kind: 'measuring' };
    try {
      this.socket = { kind: 'good', ms: await api.socketRoundTrip(this.check.socket, SOCKET_TIMEOUT_MS) };
    } catch {
      this.socket = { kind: 'bad' };
    }
  }
}
