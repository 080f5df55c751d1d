// The recipes are what they claim to be: YAML, JSON and a shell command, with address, header and right filled in.

import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { Scope } from '../../api/types.ts';
import { en } from '../../texts/tokens/en.ts';
import { es } from '../../texts/tokens/es.ts';
import { piecesOf, PROGRAMS, recipeFor, veiled, type Place, type Program, type RecipeWords } from './recipes.ts';

const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJhcGkifQ.c2ln-bmF0_dXJlk3Qx';

const PLACES: Record<string, Place> = {
  'at the root': { origin: 'http://192.0.2.10:8008', base: '/', host: 'pve-01' },
  'under a prefix, at the port of the scheme': { origin: 'https://pve.example.net', base: '/hosts/pve/', host: 'pve-01' },
  'at an IPv6 address': { origin: 'http://[2001:db8::10]:8008', base: '/', host: '007' },
  'with a name that YAML would read otherwise': { origin: 'https://example.net:8443', base: '/', host: 'no' },
};

const snippets = (program: Program, place: Place, scope: Scope = 'read_only', words: RecipeWords = en.words): string[] =>
  recipeFor(program, place, words, scope).snippets.map((snippet) => snippet.text(TOKEN));

describe.each(Object.entries(PLACES))('%s', (_name, place) => {
  const address = `${place.origin}${place.base}`;

  test('Homepage reads a list of groups with a customapi widget', () => {
    const [text = ''] = snippets('homepage', place);
    const [group] = parse(text) as Record<string, Record<string, { href: string; widget: Record<string, unknown> }>[]>[];
    const [service] = Object.values(group ?? {})[0] ?? [];
    expect(Object.keys(service ?? {})).toEqual([place.host]);
    const { href, widget = {} } = service?.[place.host] ?? {};
    expect(href).toBe(address);
    expect(widget).toMatchObject({ type: 'customapi', url: `${address}api/system`, headers: { Authorization: `Bearer ${TOKEN}` } });
    expect((widget['mappings'] as { field: string }[]).map(({ field }) => field)).toEqual(['cpu_usage', 'memory_usage', 'uptime']);
  });

  test('Home Assistant reads a rest integration', () => {
    const [text = ''] = snippets('home_assistant', place);
    const { rest: [rest = {}] } = parse(text) as { rest: Record<string, unknown>[] };
    expect(rest).toMatchObject({ resource: `${address}api/system`, headers: { Authorization: `Bearer ${TOKEN}` }, scan_interval: 30 });
    const sensors = [...(rest['sensor'] as Record<string, string>[]), ...(rest['binary_sensor'] as Record<string, string>[])];
    expect(sensors.map((sensor) => sensor['value_template']))
      .toEqual(['{{ value_json.cpu_usage }}', '{{ value_json.memory_usage }}', "{{ value_json.health.status != 'healthy' }}"]);
    expect(new Set(sensors.map((sensor) => sensor['unique_id'])).size).toBe(sensors.length);
    expect(sensors.every((sensor) => sensor['name']?.startsWith(place.host))).toBe(true);
  });

  test('Prometheus reads a job with credentials', () => {
    const [text = ''] = snippets('prometheus', place);
    const url = new URL(place.origin);
    const { scrape_configs: [job] } = parse(text) as { scrape_configs: unknown[] };
    expect(job).toEqual({
      job_name: place.host,
      scheme: url.protocol.slice(0, -1),
      metrics_path: `${place.base}api/prometheus`,
      scrape_interval: '30s',
      authorization: { credentials: TOKEN },
      static_configs: [{ targets: [url.port === '' ? `${url.hostname}:443` : url.host] }],
    });
  });

  test('Uptime Kuma asks what is public, and takes headers as JSON', () => {
    const [monitor = '', headers = ''] = snippets('uptime_kuma', place);
    expect(monitor).toContain(`URL: ${address}api/system-info\n`);
    expect(monitor).not.toContain(TOKEN);
    expect(JSON.parse(headers)).toEqual({ Authorization: `Bearer ${TOKEN}` });
  });

  test('curl gets header and address in one piece each', () => {
    const [text = ''] = snippets('curl', place);
    expect(text).toBe(`curl -H 'Authorization: Bearer ${TOKEN}' \\\n  '${address}api/system'`);
  });
});

const ROOT = PLACES['at the root'] as Place;

test('each recipe names the least right that it needs', () => {
  const least = (scope: Scope): (Scope | null)[] => PROGRAMS.map((program) => recipeFor(program, ROOT, en.words, scope).scope);
  expect(least('read_only')).toEqual(['read_only', 'read_only', 'read_only', 'metrics', null]);
  // With a token for figures curl asks for figures.
  expect(least('metrics')).toEqual(['metrics', 'read_only', 'read_only', 'metrics', null]);
  expect(snippets('curl', ROOT, 'metrics')[0]).toContain('/api/prometheus');
});

test('in Spanish the recipes are as good', () => {
  const [homepage = ''] = snippets('homepage', ROOT, 'read_only', es.words);
  const [assistant = ''] = snippets('home_assistant', ROOT, 'read_only', es.words);
  expect(homepage).toContain('label: "memoria"');
  expect([parse(homepage), parse(assistant)].every((value) => typeof value === 'object')).toBe(true);
});

test('what is shown holds the veiled token only, and every letter of the recipe', () => {
  const veil = veiled('k3Qx');
  for (const program of PROGRAMS) {
    for (const snippet of recipeFor(program, ROOT, en.words, 'read_only').snippets) {
      const shown = snippet.text(veil);
      const pieces = piecesOf(shown, veil);
      expect(pieces.map((piece) => piece.text).join('')).toBe(shown);
      expect(pieces.filter((piece) => piece.kind === 'token').map((piece) => piece.text)).toEqual(snippet.hasToken ? [veil] : []);
      expect(shown).not.toContain(TOKEN);
    }
  }
});
