// How a request came here, put in the order in which it travelled, and networks that may be trusted.

import type { ProxyCheck, ProxyKind } from '../../api/types.ts';
import { networkName, networkProblem, splitNetworks, type NetworkProblem } from '../tokens/networks.ts';

export type HopKind = 'visitor' | 'proxy' | 'unread';

export interface Hop {
  address: string;
  kind: HopKind;
  trusted: boolean;
  why: string;
}

/** Returns the hops from the visitor to the host; the server tells them as it walks, the nearest first. */
export function hopsOf({ chain, address, peer, peer_trusted: isTrusted }: ProxyCheck): Hop[] {
  if (chain.length === 0) return [{ address: peer, kind: 'visitor', trusted: isTrusted, why: 'connection' }];
  const visitor = chain.findLastIndex((hop) => hop.address === address);
  return chain
    .map((hop, index) => ({ ...hop, kind: index < visitor ? 'proxy' as const : index === visitor ? 'visitor' as const : 'unread' as const }))
    .toReversed();
}

/** Tells whether something stands between the browser and the host. */
export function isProxied({ headers, peer_trusted: isTrusted, chain }: ProxyCheck): boolean {
  return headers.length > 0 || (isTrusted && chain.length > 1);
}

export interface Stranger {
  /** What is to be trusted. */
  network: string;
  lastSeenAt: string | null;
  requests: number;
}

/** Returns who speaks for others without being trusted; the one that brought this page comes first. */
export function strangersOf({ seen, suggestion }: ProxyCheck): Stranger[] {
  const all = seen.map(({ address, last_seen_at: lastSeenAt, requests }) => ({ network: address, lastSeenAt, requests }));
  if (suggestion === null) return all;
  const name = networkName(suggestion);
  const own = all.find(({ network }) => network === name) ?? { network: name, lastSeenAt: null, requests: 0 };
  return [own, ...all.filter((one) => one !== own)];
}

/** How many addresses a network holds, as a power of two; 0 for one address. */
export function sizeOf(network: string): number {
  const [address = '', prefix] = network.split('/');
  const bits = address.includes(':') ? 128 : 32;
  return prefix === undefined ? 0 : Math.max(0, bits - Number(prefix));
}

/** Tells whether a network is the host itself. */
export function isThisHost(network: string): boolean {
  return /^127\.|^::1(?:\/128)?$/.test(network);
}

export type TrustProblem = NetworkProblem | { kind: 'missing' | 'single' | 'everyone' | 'already' };

/** Tells what is wrong with a network that somebody wants to trust; null where nothing is. */
export function trustProblem(typed: string, trusted: string[]): TrustProblem | null {
  const [entry, ...more] = splitNetworks(typed);
  if (entry === undefined) return { kind: 'missing' };
  if (more.length > 0) return { kind: 'single' };
  const problem = networkProblem([entry]);
  if (problem !== null) return problem;
  if (/\/0+$/.test(entry)) return { kind: 'everyone' };
  return trusted.some((network) => networkName(network) === networkName(entry)) ? { kind: 'already' } : null;
}

/** The programs for which the host has ready configuration. */
export const KINDS: ProxyKind[] = ['nginx', 'caddy', 'traefik'];

/** Returns the host name to begin with: the one in the address bar, unless that is an address. */
export function likelyHost(hostname: string): string {
  return networkProblem([hostname.replace(/^\[|\]$/g, '')]) === null || hostname === 'localhost' ? 'monitor.example.net' : hostname;
}
