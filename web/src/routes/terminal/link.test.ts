// The way to a shell: what breaks it, what mends it, and what ends it.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ApiError } from '../../api/client.ts';
import type { Proof } from '../../api/types.ts';
import { Link, type Socket } from './link.ts';
import { KEPT_MS, PING, PONG } from './wire.ts';

class FakeSocket implements Socket {
  readyState = 0;
  sent: (string | Uint8Array)[] = [];
  closedWith: number | null | undefined = null;
  #listeners: Record<string, ((event: never) => void)[]> = {};

  addEventListener(kind: string, listener: (event: never) => void): void {
    (this.#listeners[kind] ??= []).push(listener);
  }

  send(data: string | Uint8Array): void { this.sent.push(data); }

  close(code?: number): void {
    this.readyState = 3;
    this.closedWith = code;
  }

  open(): void {
    this.readyState = 1;
    this.#tell('open', {});
  }

  say(data: unknown): void { this.#tell('message', { data }); }

  end(code: number, reason = ''): void {
    this.readyState = 3;
    this.#tell('close', { code, reason });
  }

  #tell(kind: string, event: unknown): void {
    for (const listener of this.#listeners[kind] ?? []) listener(event as never);
  }
}

const viewer = { size: () => ({ cols: 100, rows: 30 }), opened: vi.fn(), output: vi.fn(), lost: vi.fn(), stopped: vi.fn(), latency: vi.fn() };
let tickets: { resume: string | null; proof: Proof }[];
let sockets: FakeSocket[];
let refusal: unknown;
let link: Link;

const socket = (): FakeSocket => {
  const last = sockets.at(-1);
  if (last === undefined) throw new Error('no socket yet');
  return last;
};
const refuse = (code: string, status: number): ApiError => new ApiError(code, status);

beforeEach(() => {
  vi.useFakeTimers();
  vi.resetAllMocks();
  tickets = [];
  sockets = [];
  refusal = null;
  link = new Link({
    ticket: async (resume, proof) => {
      tickets.push({ resume, proof });
      if (refusal !== null) throw refusal;
      return { ticket: `t${tickets.length}`, terminal_id: resume ?? 'shell-1' };
    },
    socket: () => {
      sockets.push(new FakeSocket());
      return socket();
    },
  }, viewer);
});
afterEach(() => { vi.useRealTimers(); });

async function openShell(): Promise<FakeSocket> {
  await link.open();
  socket().open();
  return socket();
}

describe('an open shell', () => {
  test('is told the size, and gets what is typed as bytes, never as words of its own', async () => {
    const one = await openShell();
    link.type('{"type":"ping"}');
    link.resize({ cols: 80, rows: 24 });
    expect(one.sent[0]).toBe('{"type":"resize","cols":100,"rows":30}');
    expect(one.sent[2]).toEqual(new TextEncoder().encode('{"type":"ping"}'));
    expect(one.sent[3]).toBe('{"type":"resize","cols":80,"rows":24}');
  });

  test('gets a large paste in pieces that the server takes', async () => {
    const one = await openShell();
    link.type('ñ'.repeat(100_000));
    const pieces = one.sent.filter((frame) => typeof frame !== 'string');
    expect(pieces.map(({ length }) => length)).toEqual([65_536, 65_536, 65_536, 3392]);
    expect(new TextDecoder().decode(new Uint8Array(pieces.flatMap((piece) => [...piece as Uint8Array])))).toBe('ñ'.repeat(100_000));
  });

  test('tells the server what was shown about every 64 KiB, counted in bytes', async () => {
    viewer.output.mockImplementation((_bytes: Uint8Array, shown: () => void) => { shown(); });
    const one = await openShell();
    const acks = (): unknown[] => one.sent.filter((frame) => typeof frame === 'string' && frame.includes('ack'));
    one.say('ñ'.repeat(16 * 1024));
    expect(acks()).toEqual([]);
    one.say('ñ'.repeat(16 * 1024));
    expect(acks()).toEqual(['{"type":"ack","bytes":65536}']);
    one.say('x'.repeat(70_000));
    expect(acks()[1]).toBe('{"type":"ack","bytes":135536}');
  });

  test('acknowledges only what has been shown', async () => {
    const one = await openShell();
    one.say('x'.repeat(200_000));
    expect(one.sent.some((frame) => typeof frame === 'string' && frame.includes('ack'))).toBe(false);
  });

  test('is asked every 25 s whether it lives; an answer that nobody waits for is output', async () => {
    const one = await openShell();
    expect(one.sent.filter((frame) => frame === PING)).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(7);
    one.say(PONG);
    expect(viewer.latency).toHaveBeenCalledExactlyOnceWith(7);
    one.say(PONG);
    expect(viewer.output).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(25_000);
    expect(one.sent.filter((frame) => frame === PING)).toHaveLength(2);
  });

  test('that does not answer is taken for lost, unless output comes', async () => {
    const one = await openShell();
    one.say('still here');
    await vi.advanceTimersByTimeAsync(8000);
    expect(viewer.lost).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(17_000 + 8000);
    expect(viewer.lost).toHaveBeenCalledOnce();
    expect(one.closedWith).toBe(4100);
  });

  test('ends with a code of its own when it is closed on purpose', async () => {
    const one = await openShell();
    link.end();
    expect(one.closedWith).toBe(4000);
    one.end(4000);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([viewer.lost.mock.calls.length, viewer.stopped.mock.calls.length, tickets.length]).toEqual([0, 0, 1]);
  });
});

describe('a broken way', () => {
  test('is mended to the same shell, with a fresh ticket, and what was counted starts anew', async () => {
    viewer.output.mockImplementation((_bytes: Uint8Array, shown: () => void) => { shown(); });
    const first = await openShell();
    first.say('x'.repeat(60_000));
    first.end(1006);
    expect(viewer.lost).toHaveBeenCalledExactlyOnceWith(Date.now() + KEPT_MS);
    await vi.advanceTimersByTimeAsync(250);
    expect(tickets.map(({ resume }) => resume)).toEqual([null, 'shell-1']);
    socket().open();
    expect(viewer.opened.mock.calls).toEqual([[false], [true]]);
    socket().say('x'.repeat(60_000));
    expect(socket().sent.some((frame) => typeof frame === 'string' && frame.includes('ack'))).toBe(false);
    first.say('late');
    expect(viewer.output).toHaveBeenCalledTimes(2);
  });

  test('is tried with growing pauses for as long as the shell is kept, then given up', async () => {
    (await openShell()).end(1006);
    refusal = refuse('unreachable', 0);
    await vi.advanceTimersByTimeAsync(250 + 500 + 1000 + 2000);
    expect(tickets).toHaveLength(5);
    await vi.advanceTimersByTimeAsync(KEPT_MS + 5000);
    expect(viewer.stopped).toHaveBeenCalledExactlyOnceWith('gone', expect.anything());
    const tries = tickets.length;
    await vi.advanceTimersByTimeAsync(KEPT_MS);
    expect(tickets).toHaveLength(tries);
    expect(link.terminalId).toBeNull();
  });

  test('a server in trouble is silence; a shell that is gone is not', async () => {
    (await openShell()).end(1001);
    refusal = refuse('internal', 503);
    await vi.advanceTimersByTimeAsync(300);
    expect(viewer.stopped).not.toHaveBeenCalled();
    refusal = refuse('terminal_gone', 404);
    await vi.advanceTimersByTimeAsync(600);
    expect(viewer.stopped).toHaveBeenCalledExactlyOnceWith('gone', expect.anything());
  });

  test('is tried at once when the network is back', async () => {
    (await openShell()).end(1006);
    link.hurry();
    await vi.advanceTimersByTimeAsync(0);
    expect(tickets).toHaveLength(2);
  });

  test('a first socket that is never let through is not tried for ever', async () => {
    await link.open();
    for (let tries = 0; tries < 3; tries += 1) {
      socket().end(1006);
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(viewer.stopped).toHaveBeenCalledExactlyOnceWith('blocked', expect.anything());
    expect(viewer.lost).not.toHaveBeenCalled();
    expect(tickets.map(({ resume }) => resume)).toEqual([null, null, null]);
  });
});

describe('the server ends it', () => {
  test.each([[4000, 'exited', null], [4001, 'session', null], [4002, 'taken', 'shell-1'], [4003, 'locked', 'shell-1'], [1013, 'busy', 'shell-1']])(
    'with %i: %s, and nothing is tried by itself', async (code, stop, id) => {
      (await openShell()).end(code, 'why');
      expect(viewer.stopped).toHaveBeenCalledExactlyOnceWith(stop, { reason: 'why', error: null });
      await vi.advanceTimersByTimeAsync(KEPT_MS);
      expect(tickets).toHaveLength(1);
      expect(link.terminalId).toBe(id);
    });
});

describe('who one is', () => {
  test('is asked for a new shell, and sent with the next ticket alone', async () => {
    refusal = refuse('step_up_required', 403);
    await link.open();
    expect(viewer.stopped).toHaveBeenCalledExactlyOnceWith('locked', { reason: '', error: refusal });
    refusal = null;
    await link.confirm({ password: 'p', totp_code: '123456' });
    socket().open();
    socket().end(1006);
    await vi.advanceTimersByTimeAsync(250);
    expect(tickets.map(({ proof }) => proof)).toEqual([{}, { password: 'p', totp_code: '123456' }, {}]);
  });

  test('a wrong proof is the asker’s to show; a shell that is gone meanwhile is the viewer’s', async () => {
    (await openShell()).end(4003);
    refusal = refuse('reauthentication_failed', 403);
    await expect(link.confirm({ password: 'x' })).rejects.toBe(refusal);
    expect(viewer.stopped).toHaveBeenCalledTimes(1);
    refusal = refuse('terminal_gone', 404);
    await link.confirm({ password: 'p' });
    expect(viewer.stopped).toHaveBeenLastCalledWith('gone', expect.anything());
  });

  test('every other refusal is told with its error', async () => {
    refusal = refuse('too_many_terminals', 409);
    await link.open();
    expect(viewer.stopped).toHaveBeenCalledExactlyOnceWith('refused', { reason: '', error: refusal });
  });
});

test('an answer to an attempt that was given up opens nothing', async () => {
  const slow = link.open();
  link.end();
  await slow;
  expect(sockets).toEqual([]);
});
