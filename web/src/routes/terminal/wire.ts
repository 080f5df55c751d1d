// What page and server say to each other over a shell's socket, beside what is typed and shown.

export interface Size { cols: number; rows: number }

/** Why a socket was closed, by its close code. */
export type Ending = 'exited' | 'session' | 'taken' | 'locked' | 'busy' | 'dropped';

/** How much may be shown before the server is told so. */
export const ACK_EVERY_BYTES = 64 * 1024;
/** Proxies end a socket on which nothing is said, the first of them after 30 s. */
export const PING_EVERY_MS = 25_000;
/** No answer to a ping for this long: the way is broken, whatever the browser believes. */
export const PONG_WITHIN_MS = 8000;
/** How long the server keeps a shell that nobody is connected to. */
export const KEPT_MS = 60_000;
/** Sent by the page it says that nobody wants the shell any more: it ends at once. */
export const CLOSED_ON_PURPOSE = 4000;
/** Ours for a socket that is given up for another one to the same shell. */
export const COMING_BACK = 4100;

/** The server takes messages of 1 MiB; a large paste goes in pieces. */
export const PIECE_BYTES = 64 * 1024;

export const PING = '{"type":"ping"}';
export const PONG = '{"type":"pong"}';

const ENDINGS: Readonly<Record<number, Ending>> = { 1013: 'busy', 4000: 'exited', 4001: 'session', 4002: 'taken', 4003: 'locked' };
const PAUSES_MS = [250, 500, 1000, 2000, 4000];

/** Tells the server how large the screen is. */
export function resizeFrame({ cols, rows }: Size): string {
  return JSON.stringify({ type: 'resize', cols, rows });
}

/** Tells the server how much of its output has been shown on this socket. */
export function ackFrame(bytes: number): string {
  return JSON.stringify({ type: 'ack', bytes });
}

/** Returns what a close code means; one that is not the server's is a broken way. */
export function endingOf(code: number): Ending {
  return ENDINGS[code] ?? 'dropped';
}

/** Returns how long to wait before the next try: a little longer each time. */
export function pauseMs(failures: number): number {
  return PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 4000;
}
