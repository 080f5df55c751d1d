// Ready configuration for the programs that call with a token. The token goes in last, so that what
// is shown can hold a veiled one.

import type { Scope } from '../../api/types.ts';

export const PROGRAMS = ['curl', 'homepage', 'home_assistant', 'prometheus', 'uptime_kuma'] as const;
export type Program = (typeof PROGRAMS)[number];

/** Where this host is reached, and what it is called. */
export interface Place {
  origin: string;
  /** With a slash at both ends. */
  base: string;
  host: string;
}

/** Words of the reader's language that end up in the other program. */
export interface RecipeWords {
  processor: string;
  memory: string;
  uptime: string;
  health: string;
}

export interface Snippet {
  /** The file where it belongs, or a word for the place. */
  where: string;
  hasToken: boolean;
  text: (token: string) => string;
}

export interface Recipe {
  /** The least right that it needs; null where the call is open to everyone. */
  scope: Scope | null;
  path: string;
  snippets: Snippet[];
}

interface Kitchen {
  place: Place;
  words: RecipeWords;
  scope: Scope;
}

const POLL_SECONDS = 30;

/** A scalar in double quotes; JSON's are YAML's too (YAML 1.2.2 §1.3). */
const quote = (text: string): string => JSON.stringify(text);

const addressOf = ({ origin, base }: Place, path: string): string => `${origin}${base}${path}`;

/** Host and port, also where the port is the scheme's own. */
function targetOf(origin: string): string {
  const { hostname, port, protocol } = new URL(origin);
  return `${hostname}:${port === '' ? (protocol === 'https:' ? '443' : '80') : port}`;
}

function curl({ place, scope }: Kitchen): Recipe {
  const forMetrics = scope === 'metrics';
  const path = forMetrics ? 'api/prometheus' : 'api/system';
  return {
    scope: forMetrics ? 'metrics' : 'read_only',
    path,
    snippets: [{
      where: 'shell', hasToken: true,
      text: (token) => `curl -H 'Authorization: Bearer ${token}' \\\n  '${addressOf(place, path)}'`,
    }],
  };
}

function homepage({ place, words }: Kitchen): Recipe {
  const path = 'api/system';
  const field = (name: string, label: string, format: string): string =>
    `            - field: ${name}\n              label: ${quote(label)}\n              format: ${format}`;
  return {
    scope: 'read_only',
    path,
    snippets: [{
      where: 'services.yaml', hasToken: true,
      text: (token) => `- ProxMenux:
    - ${quote(place.host)}:
        href: ${quote(addressOf(place, ''))}
        widget:
          type: customapi
          url: ${quote(addressOf(place, path))}
          refreshInterval: ${POLL_SECONDS * 1000}
          headers:
            Authorization: ${quote(`Bearer ${token}`)}
          mappings:
${field('cpu_usage', words.processor, 'percent')}
${field('memory_usage', words.memory, 'percent')}
${field('uptime', words.uptime, 'text')}`,
    }],
  };
}

function homeAssistant({ place, words }: Kitchen): Recipe {
  const path = 'api/system';
  const percentage = (word: string, field: string): string => `      - name: ${quote(`${place.host} ${word}`)}
        unique_id: ${quote(`${place.host}_${field}`)}
        value_template: "{{ value_json.${field} }}"
        unit_of_measurement: "%"
        state_class: measurement`;
  return {
    scope: 'read_only',
    path,
    snippets: [{
      where: 'configuration.yaml', hasToken: true,
      text: (token) => `rest:
  - resource: ${quote(addressOf(place, path))}
    scan_interval: ${POLL_SECONDS}
    headers:
      Authorization: ${quote(`Bearer ${token}`)}
    sensor:
${percentage(words.processor, 'cpu_usage')}
${percentage(words.memory, 'memory_usage')}
    binary_sensor:
      - name: ${quote(`${place.host} ${words.health}`)}
        unique_id: ${quote(`${place.host}_health`)}
        value_template: "{{ value_json.health.status != 'healthy' }}"
        device_class: problem`,
    }],
  };
}

function prometheus({ place }: Kitchen): Recipe {
  const path = 'api/prometheus';
  return {
    scope: 'metrics',
    path,
    snippets: [{
      where: 'prometheus.yml', hasToken: true,
      text: (token) => `scrape_configs:
  - job_name: ${quote(place.host)}
    scheme: ${new URL(place.origin).protocol.replace(':', '')}
    metrics_path: ${quote(`${place.base}${path}`)}
    scrape_interval: ${POLL_SECONDS}s
    authorization:
      credentials: ${quote(token)}
    static_configs:
      - targets: [${quote(targetOf(place.origin))}]`,
    }],
  };
}

function uptimeKuma({ place }: Kitchen): Recipe {
  const path = 'api/system-info';
  return {
    scope: null,
    path,
    snippets: [{
      where: 'monitor', hasToken: false,
      text: () => `Monitor Type: HTTP(s) - Json Query
URL: ${addressOf(place, path)}
Json Query Expression: health.status
Condition: ==
Expected Value: healthy`,
    }, {
      where: 'headers', hasToken: true,
      text: (token) => JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2),
    }],
  };
}

const BY_PROGRAM: Record<Program, (kitchen: Kitchen) => Recipe> = {
  curl,
  homepage,
  home_assistant: homeAssistant,
  prometheus,
  uptime_kuma: uptimeKuma,
};

/** Writes the recipe of a program for a token with the given right. */
export function recipeFor(program: Program, place: Place, words: RecipeWords, scope: Scope): Recipe {
  return BY_PROGRAM[program]({ place, words, scope });
}

/** Returns what stands in the place of a token that is shown. */
export function veiled(last4: string): string {
  return `••••${last4}`;
}

export interface Piece {
  kind: 'key' | 'token' | 'plain';
  text: string;
}

/** Cuts a shown snippet into pieces for the eye: what stands before a colon, and the veiled token. */
export function piecesOf(text: string, veil: string): Piece[] {
  return text.split('\n').flatMap((line, index) => {
    const start = index === 0 ? '' : '\n';
    const [, indent = '', key = '', rest = ''] = /^(\s*(?:- )?)([a-z_][\w ]*)(:.*)$/i.exec(line) ?? [];
    const head: Piece[] = key === '' ? [] : [{ kind: 'plain', text: start + indent }, { kind: 'key', text: key }];
    return [...head, ...withToken(key === '' ? start + line : rest, veil)];
  });
}

function withToken(text: string, veil: string): Piece[] {
  const [before = '', ...after] = text.split(veil);
  if (after.length === 0) return [{ kind: 'plain', text }];
  return [{ kind: 'plain', text: before }, { kind: 'token', text: veil }, { kind: 'plain', text: after.join(veil) }];
}
