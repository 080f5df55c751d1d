// What the server says, as the page reads it. `docs/api.md` holds the whole of it.

import type { PasswordPolicy } from '../lib/passwords.ts';

export interface Status {
  auth_enabled: boolean;
  configured: boolean;
  declined: boolean;
  authenticated: boolean;
  totp_enabled: boolean;
  username: string | null;
  password_policy: PasswordPolicy;
  setup_requires_code: boolean;
  locked: boolean;
  server_time: string;
  version: string;
  /** Only for an authenticated caller. */
  warnings?: string[];
  idle_minutes?: number;
  /** The next three only for a session. */
  backup_codes_left?: number | null;
  passkeys?: number;
  second_factor_fresh?: boolean;
}

/** The fields of a refusal beside its `code`. */
export interface Refusal {
  message?: string;
  field?: string;
  retry_after?: number;
  rules?: string[];
  requires_totp?: boolean;
  clock_skew_seconds?: number;
  server_time?: string;
  until?: string;
  address?: string;
  subject?: string;
  file?: string;
  line?: number;
  problem?: string;
  /** What was found wrong with a certificate. */
  checks?: TlsCheck[];
}

export interface SignedIn {
  token: string;
  backup_codes_left?: number;
  kept_in_memory?: boolean;
}

export interface Profile {
  username: string;
  display_name: string | null;
  has_avatar: boolean;
  avatar_mtime: number | null;
}

export interface Session {
  id: string;
  current: boolean;
  created_at: string;
  last_seen_at: string;
  expires_at: string;
  address: string;
  network: string;
  user_agent: string | null;
  device: string | null;
  factors: string[];
}

export type HealthStatus = 'healthy' | 'warning' | 'critical';

export interface HealthReason {
  code: string;
  status: HealthStatus;
  subject: string | null;
  value: number | null;
  limit: number | null;
}

export interface SystemInfo {
  /** Absent where an option reduces the answer to the status alone. */
  hostname?: string;
  uptime_seconds?: number;
  health: { status: HealthStatus; summary: string };
}

export interface Snapshot {
  hostname: string;
  timestamp: string;
  uptime_seconds: number;
  cpu_usage: number;
  cpu_cores: number;
  memory_usage: number;
  /** GiB, as are the next three. */
  memory_total: number;
  memory_used: number;
  swap_total: number;
  swap_used: number;
  load_average: number[];
  temperatures: { label: string; celsius: number; max: number | null; critical: number | null }[];
  disks: Disk[];
  disk_io: { read_bytes_per_second: number; written_bytes_per_second: number };
  network: NetworkInterface[];
  processes: { pid: number; name: string; cpu_usage: number; memory: number }[];
  guests: Guest[];
  kernel_version: string;
  os: string;
  health: { status: HealthStatus; summary: string; reasons: HealthReason[] };
}

export interface Disk {
  mount: string;
  device: string;
  filesystem: string;
  total: number;
  used: number;
  usage: number;
  read_only: boolean;
}

export interface NetworkInterface {
  name: string;
  up: boolean;
  addresses: string[];
  rx_bytes_per_second: number;
  tx_bytes_per_second: number;
}

export interface Guest {
  vmid: number;
  name: string;
  kind: 'qemu' | 'lxc';
  status: string;
  cpu_usage: number;
  memory_used: number;
  uptime_seconds: number;
}

/** The last hour, oldest first, all lists of one length. */
export interface History {
  interval_seconds: number;
  timestamps: string[];
  cpu_usage: number[];
  memory_usage: number[];
  network_rx_bytes_per_second: number[];
  network_tx_bytes_per_second: number[];
  disk_read_bytes_per_second: number[];
  disk_written_bytes_per_second: number[];
}

/** A passkey that was shown, for one call. */
export interface PasskeyProof {
  ceremony: string;
  credential: object;
}

/** Who one is, proven once more: password and code, or a passkey. */
export interface Proof {
  password?: string;
  totp_code?: string;
  passkey?: PasskeyProof;
}

/** What the browser needs to ask for a passkey. */
export interface Ceremony {
  ceremony: string;
  options: unknown;
}

export interface Passkey {
  id: string;
  name: string;
  created_at: string;
  last_used_at: string | null;
  rp_id: string;
  usable_here: boolean;
}

export interface PasskeyList {
  passkeys: Passkey[];
  available_here: boolean;
  unavailable_reason: 'address' | 'not_https' | null;
}

/** A second factor that waits for its first code. */
export interface Enrolment {
  secret: string;
  qr_code: string;
  otpauth_uri: string;
  backup_codes: string[];
  expires_in: number;
}

/** How far an API token reaches; each includes the ones before it. */
export type Scope = 'metrics' | 'read_only' | 'operator' | 'full_admin';

export interface ApiToken {
  id: string;
  name: string;
  /** `unknown`: the earlier program wrote it down without one, and it was never used here. */
  scope: Scope | 'unknown';
  terminal: boolean;
  last4: string;
  created_at: string;
  expires_at: string;
  last_used_at: string | null;
  last_used_from: string | null;
  allowed_networks: string[];
  revoked: boolean;
  /** Null until it is used for the first time, where nobody wrote down what signed it. */
  valid: boolean | null;
  invalidation_reason: string | null;
  /** When it ends because another takes its place. */
  ends_at: string | null;
  replaced_by: string | null;
  used_since_rotation: boolean;
  last_refused_at: string | null;
  last_refused_from: string | null;
  last_refused_reason: string | null;
  /** Made by the earlier program. */
  legacy: boolean;
}

/** What a new API token is to be. */
export interface ApiTokenWish {
  token_name: string;
  scope: Scope;
  expires_in_days: number;
  allowed_networks: string[];
  terminal: boolean;
}

/** What opens one socket to one shell, within ten seconds. */
export interface TerminalTicket {
  ticket: string;
  terminal_id: string;
}

/** An API token in the only answer that holds it. */
export interface MadeApiToken {
  id: string;
  token: string;
  token_name: string;
  scope: Scope;
  expires_at: string;
  last4: string;
  /** After a rotation: when the one that it replaces ends. */
  old_ends_at?: string;
}

/** Where the certificate that the host serves comes from. */
export type TlsSource = 'proxmox' | 'acme' | 'custom' | 'self_signed';

/** A setting of HTTPS that is taken back unless the page confirms it. */
export interface TlsTrial {
  ends_at: string;
  source: TlsSource;
  reverts_to: 'http' | 'https';
}

export interface CertificateInfo {
  subject: string;
  issuer: string;
  not_before: string;
  expires: string;
  days_left: number;
  is_self_signed: boolean;
  names: string[];
  key_kind: string;
  fingerprint_sha256: string;
}

/** All that is told without a token, and only while a trial runs. */
export interface TlsGlance {
  ssl_enabled: boolean;
  trial: TlsTrial | null;
}

export interface TlsStatus extends TlsGlance {
  source: TlsSource | 'none';
  cert_path: string | null;
  key_path: string | null;
  proxmox_available: boolean;
  proxmox_cert: string | null;
  proxmox_key: string | null;
  cert_info: CertificateInfo | null;
  serving: 'configured' | 'last_good' | 'emergency' | null;
  problem: string | null;
  /** This very request came over the TLS of the host itself, not of a proxy. */
  over_tls: boolean;
  hsts: boolean;
  /** Null where no authority was ever asked. */
  acme: Acme | null;
}

/** How an authority finds out that a name is this host's (RFC 8555 §8.3, RFC 8737). */
export type AcmeChallenge = 'http-01' | 'tls-alpn-01';

export type AcmeStep = 'account' | 'order' | 'challenge' | 'certificate';

export interface AcmeOrder {
  state: 'running' | 'done' | 'failed';
  step: AcmeStep | null;
  started_at: string;
  ended_at: string | null;
  /** What the authority said, in English. */
  problem: string | null;
}

/** What was last asked of an authority, what became of it, and when it is asked again. */
export interface Acme {
  names: string[];
  email: string | null;
  directory: string;
  challenge: AcmeChallenge;
  ca_path?: string | null;
  order: AcmeOrder | null;
  certificate: CertificateInfo | null;
  renews_at: string | null;
  /** After a renewal that failed. */
  next_try_at: string | null;
}

/** What an authority is to be asked for; without a directory Let's Encrypt is. */
export interface AcmeWish {
  names: string[];
  email?: string;
  challenge?: AcmeChallenge;
  directory?: string;
  ca_path?: string;
  agree_terms: boolean;
}

/** Which certificate is to be served; the paths only for a pair of one's own. */
export interface TlsWish {
  source: TlsSource;
  cert_path?: string;
  key_path?: string;
}

export interface TlsCheck {
  name: string;
  result: 'passed' | 'warning' | 'failed';
  message: string;
}

export interface TlsVerdict {
  success: boolean;
  message: string;
  checks: TlsCheck[];
  cert_info: CertificateInfo | null;
}

export interface TlsStarted {
  trial_ends_at: string;
  checks: TlsCheck[];
  cert_info?: CertificateInfo | null;
}

/** How this very request reached the host, and whose word is taken. */
export interface ProxyCheck {
  peer: string;
  peer_trusted: boolean;
  address: string;
  network: string;
  https: boolean;
  host: string;
  host_allowed: boolean;
  /** The one header that is believed. */
  header: string;
  headers: { name: string; value: string; believed: boolean }[];
  chain: { address: string; trusted: boolean; why: string }[];
  trusted_proxies: string[];
  trusted_from: 'default' | 'settings' | 'option';
  /** What one would trust to have this request's proxy believed. */
  suggestion: string | null;
  /** Who spoke for others in the last hour without being trusted. */
  seen: { address: string; last_seen_at: string; requests: number }[];
  socket: string;
}

export type ProxyKind = 'nginx' | 'caddy' | 'traefik';

export interface ProxySnippet {
  kind: ProxyKind;
  file_name: string;
  snippet: string;
  notes: string[];
}
