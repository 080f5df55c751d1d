// Real reverse proxies with the snippets that the Monitor prints: each in a folder of its own, on high ports of loopback.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PATH = '/hosts/pve/';
const READY_MS = 20_000;

/** The programs, where `scripts/setup test` puts them. */
const PROGRAMS = {
  nginx: { kind: 'nginx', command: '.tools/debian/usr/sbin/nginx', configure: nginx },
  caddy: { kind: 'caddy', command: '.tools/debian/usr/bin/caddy', configure: caddy },
  'newer-caddy': { kind: 'caddy', command: '.tools/python/bin/caddy', configure: caddy },
  traefik: { kind: 'traefik', command: '.tools/python/bin/traefik', configure: traefik },
};

/** Every program by a host name of its own and below a path of another: the eight ways to the Monitor. */
export const SITES = Object.keys(PROGRAMS).flatMap((program) => [
  { program, title: `${program} by host name`, host: `${program}.example.net`, base: '/' },
  { program, title: `${program} below a path`, host: `${program}-path.example.net`, base: PATH },
]).map((site, index) => ({ ...site, index, url: `https://${site.host}${site.base}` }));

const running = new Set();
process.once('exit', () => { for (const child of running) child.kill('SIGKILL'); });

/** Starts every program with the snippets of its sites; each site then knows its ports. */
export async function startProxies(snippetOf) {
  const folder = mkdtempSync(join(tmpdir(), 'monitor-proxies-'));
  const certificate = makeCertificate(folder);
  const proxies = await Promise.all(Object.keys(PROGRAMS).map(async (name) => {
    const sites = SITES.filter((site) => site.program === name);
    const home = join(folder, name);
    mkdirSync(home);
    const [http, https] = [await freePort(), await freePort()];
    for (const site of sites) Object.assign(site, { http, https });
    const snippets = await Promise.all(sites.map((site) => snippetOf(PROGRAMS[name].kind, site)));
    return start(name, home, { home, http, https, certificate, sites, snippets });
  }));
  try {
    await Promise.all(SITES.map((site) => ready(site, proxies.find((proxy) => proxy.name === site.program))));
  } catch (error) {
    await stop(proxies, folder);
    throw error;
  }
  return { proxies, stop: () => stop(proxies, folder) };
}

function start(name, home, setting) {
  const program = PROGRAMS[name];
  const arguments_ = program.configure(setting);
  const child = spawn(join(ROOT, program.command), arguments_, {
    cwd: home,
    env: { PATH: process.env.PATH, HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const proxy = { name, child, told: '' };
  proxy.exited = new Promise((resolve) => { child.once('exit', resolve); });
  child.once('error', (error) => { proxy.told += `${error.message}: scripts/setup test installs it\n`; proxy.failed = true; });
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { proxy.told += chunk; });
  running.add(child);
  child.once('exit', () => { running.delete(child); });
  return proxy;
}

async function ready(site, proxy) {
  const end = Date.now() + READY_MS;
  let last;
  while (Date.now() < end) {
    if (proxy.failed || proxy.child.exitCode !== null) break;
    last = await ask(site, 'GET', 'api/auth/status').catch((error) => ({ status: error.message }));
    if (last.status === 200) return;
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  assert.fail(`${site.title} does not answer (${last?.status}):\n${proxy.told}`);
}

async function stop(proxies, folder) {
  for (const { child } of proxies) child.kill('SIGTERM');
  const killer = setTimeout(() => { for (const { child } of proxies) child.kill('SIGKILL'); }, 3000);
  await Promise.all(proxies.filter((proxy) => !proxy.failed).map((proxy) => proxy.exited));
  clearTimeout(killer);
  rmSync(folder, { recursive: true, force: true });
}

/** Sends a request to a site as another machine would: from the loopback address that is given. */
export function ask(site, method, path, { from = '127.0.0.1', headers = {}, body } = {}) {
  return send(httpsRequest, {
    host: '127.0.0.1', port: site.https, servername: site.host, rejectUnauthorized: false, agent: false,
    method, path: site.base + path, localAddress: from,
    headers: { Host: site.host, ...headers },
  }, body);
}

/** Sends a request to a server without a proxy. */
export function askDirectly(server, method, path, { from = '127.0.0.1', headers = {}, body } = {}) {
  const [host, port] = server.address.split(':');
  return send(httpRequest, { host, port, agent: false, method, path: `/${path}`, localAddress: from, headers }, body);
}

/** Sends a request without TLS to the port that a site's host has for it. */
export function askWithoutTls(site, path) {
  return send(httpRequest, { host: '127.0.0.1', port: site.http, agent: false, path, headers: { Host: site.host } });
}

function send(request, options, body) {
  const isPlain = body !== undefined && !Buffer.isBuffer(body);
  const sent = isPlain ? Buffer.from(JSON.stringify(body)) : body;
  const headers = { ...(isPlain ? { 'Content-Type': 'application/json' } : {}), ...(sent === undefined ? {} : { 'Content-Length': sent.length }), ...options.headers };
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...options, headers, timeout: READY_MS }, (incoming) => {
      const chunks = [];
      incoming.on('data', (chunk) => { chunks.push(chunk); });
      incoming.once('error', reject);
      incoming.once('end', () => {
        const text = Buffer.concat(chunks).toString();
        let json;
        try { json = JSON.parse(text); } catch { json = undefined; }
        resolve({ status: incoming.statusCode, headers: incoming.headers, text, json });
      });
    });
    outgoing.once('timeout', () => { outgoing.destroy(new Error('no answer')); });
    outgoing.once('error', reject);
    outgoing.end(sent);
  });
}

/** Returns the rules by which a browser finds the sites, at the ports that their addresses leave out. */
export function resolverRules() {
  return SITES.map((site) => `MAP ${site.host}:443 127.0.0.1:${site.https}`).join(',');
}

/** Replaces what a snippet leaves to the operator, and what this machine has no right to. */
function instead(text, replacements) {
  let result = text;
  for (const [printed, wanted] of replacements) {
    assert.ok(result.includes(printed), `the snippet has no ${printed}`);
    result = result.replaceAll(printed, wanted);
  }
  return result;
}

function nginx({ home, http, https, certificate, sites: [byName, byPath], snippets: [whole, part] }) {
  const hasIpv6 = Object.values(networkInterfaces()).flat().some((own) => own.address === '::1');
  const ipv6 = (port, wanted) => [`    listen [::]:${port}`, hasIpv6 ? `    listen [::1]:${wanted}` : `    # listen [::]:${wanted}`];
  writeFileSync(join(home, 'host.conf'), instead(whole, [
    ['listen 80;', `listen 127.0.0.1:${http};`],
    ['listen 443 ', `listen 127.0.0.1:${https} `],
    ipv6(80, http),
    ipv6(443, https),
    [`/etc/ssl/${byName.host}/fullchain.pem`, certificate.file],
    [`/etc/ssl/${byName.host}/privkey.pem`, certificate.key],
  ]));
  writeFileSync(join(home, 'path.conf'), part);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((use) => `${use}_temp_path ${home}/${use};`);
  writeFileSync(join(home, 'nginx.conf'), `
    daemon off;
    ${process.getuid() === 0 ? 'user root;' : ''}
    worker_processes 1;
    pid ${home}/pid;
    error_log stderr error;
    events { worker_connections 256; }
    http {
      access_log off;
      ${temporary.join('\n')}
      include host.conf;
      server {
        listen 127.0.0.1:${https} ssl http2;
        server_name ${byPath.host};
        ssl_certificate ${certificate.file};
        ssl_certificate_key ${certificate.key};
        include path.conf;
        location / { return 404; }
      }
    }
  `);
  return ['-e', 'stderr', '-p', home, '-c', join(home, 'nginx.conf')];
}

function caddy({ home, http, https, sites: [, byPath], snippets: [whole, part] }) {
  writeFileSync(join(home, 'host.caddyfile'), whole);
  writeFileSync(join(home, 'path.caddyfile'), part);
  // Its own authority signs, as no other knows these names.
  writeFileSync(join(home, 'Caddyfile'), `{
    admin off
    http_port ${http}
    https_port ${https}
    default_bind 127.0.0.1
    local_certs
    skip_install_trust
    storage file_system ${home}/storage
    log {
      level WARN
    }
  }
  import host.caddyfile
  https://${byPath.host} {
    import path.caddyfile
    handle {
      respond 404
    }
  }
  `);
  return ['run', '--config', join(home, 'Caddyfile'), '--adapter', 'caddyfile'];
}

function traefik({ home, https, certificate, snippets: [whole, part] }) {
  const folder = join(home, 'dynamic');
  mkdirSync(folder);
  writeFileSync(join(folder, 'host.yml'), whole);
  writeFileSync(join(folder, 'path.yml'), part);
  writeFileSync(join(folder, 'certificate.yml'), `tls:
  stores:
    default:
      defaultCertificate:
        certFile: ${certificate.file}
        keyFile: ${certificate.key}
`);
  writeFileSync(join(home, 'traefik.yml'), `global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: WARN
entryPoints:
  websecure:
    address: 127.0.0.1:${https}
providers:
  file:
    directory: ${folder}
    watch: false
`);
  return [`--configFile=${join(home, 'traefik.yml')}`];
}

function makeCertificate(folder) {
  const [file, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', '/CN=example.net', '-addext', 'subjectAltName=DNS:*.example.net', '-out', file, '-keyout', key,
  ], { stdio: 'ignore' });
  return { file, key };
}

/** Returns a port of loopback that nobody has. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => { resolve(port); });
    });
  });
}
