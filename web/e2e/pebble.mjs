// A real certificate authority that speaks ACME, and the DNS that it asks: both on high ports of loopback, in a folder of their own.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { freePort } from './proxies.mjs';

const PROGRAMS = fileURLToPath(new URL('../../.tools/debian/usr/bin/', import.meta.url));
const READY_MS = 10_000;

const running = new Set();
process.once('exit', () => { for (const child of running) child.kill('SIGKILL'); });

/**
 * Starts an authority that looks for every host at 127.0.0.1 and the port given, and for those in `silent` where nobody answers.
 * Returns the address of its directory, the file with its root certificate, and how to stop it.
 */
export async function startPebble(port, { silent = [] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'monitor-pebble-'));
  const [own, management, dns, dnsManagement] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const { root, certificate, privateKey } = makeCertificates(folder);
  const config = join(folder, 'pebble.json');
  writeFileSync(config, JSON.stringify({ pebble: {
    listenAddress: `127.0.0.1:${own}`, managementListenAddress: `127.0.0.1:${management}`,
    certificate, privateKey, httpPort: port, tlsPort: port,
  } }));
  const programs = [
    start(folder, 'pebble-challtestsrv', [
      '-defaultIPv4', '127.0.0.1', '-defaultIPv6', '', '-dns01', `127.0.0.1:${dns}`, '-management', `127.0.0.1:${dnsManagement}`,
      '-http01', '', '-https01', '', '-tlsalpn01', '',
    ]),
    start(folder, 'pebble', ['-config', config, '-dnsserver', `127.0.0.1:${dns}`]),
  ];
  const stop = () => stopAll(programs, folder);
  const directory = `https://127.0.0.1:${own}/dir`;
  try {
    await until(programs, () => ask(directory, root));
    await until(programs, () => fetch(`http://127.0.0.1:${dnsManagement}/add-a`, { method: 'POST', body: JSON.stringify({ host: 'ready.example.net', addresses: ['127.0.0.1'] }) }));
    for (const host of silent) {
      // Nothing listens at this address.
      const answer = await fetch(`http://127.0.0.1:${dnsManagement}/add-a`, { method: 'POST', body: JSON.stringify({ host, addresses: ['127.0.0.9'] }) });
      assert.equal(answer.status, 200);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { directory, root, stop };
}

function start(folder, name, arguments_) {
  const child = spawn(join(PROGRAMS, name), arguments_, {
    cwd: folder,
    // No pauses, no answers that fail by chance, and each name is proven anew.
    env: { PATH: process.env.PATH, HOME: folder, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0', PEBBLE_AUTHZREUSE: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const program = { child, told: '' };
  program.exited = new Promise((resolve) => { child.once('exit', resolve); });
  child.once('error', (error) => { program.told += `${error.message}: scripts/setup test installs it\n`; program.failed = true; });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { program.told += chunk; });
  running.add(child);
  child.once('exit', () => { running.delete(child); });
  return program;
}

async function until(programs, attempt) {
  const end = Date.now() + READY_MS;
  let last;
  while (Date.now() < end && programs.every(({ child, failed }) => !failed && child.exitCode === null)) {
    try {
      return await attempt();
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  return assert.fail(`the authority does not answer (${last?.message}):\n${programs.map(({ told }) => told).join('\n')}`);
}

function ask(url, root) {
  return new Promise((resolve, reject) => {
    request(url, { ca: readFileSync(root), agent: false, timeout: READY_MS }, (incoming) => {
      incoming.resume();
      incoming.once('end', () => { resolve(incoming.statusCode); });
    }).once('error', reject).end();
  });
}

async function stopAll(programs, folder) {
  for (const { child } of programs) child.kill('SIGKILL');
  await Promise.all(programs.filter(({ failed }) => !failed).map(({ exited }) => exited));
  rmSync(folder, { recursive: true, force: true });
}

/** Makes what the authority's own address is served with: a root that the Monitor is told of, and a pair signed by it. */
function makeCertificates(folder) {
  const [root, rootKey, certificate, privateKey] = ['root.pem', 'root-key.pem', 'certificate.pem', 'key.pem'].map((name) => join(folder, name));
  const fresh = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const openssl = (...given) => execFileSync('openssl', given, { stdio: 'ignore' });
  openssl(...fresh, '-subj', '/CN=Test Authority', '-addext', 'keyUsage=critical,keyCertSign', '-out', root, '-keyout', rootKey);
  openssl(...fresh, '-CA', root, '-CAkey', rootKey, '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE', '-out', certificate, '-keyout', privateKey);
  return { root, certificate, privateKey };
}
