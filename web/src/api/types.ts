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
