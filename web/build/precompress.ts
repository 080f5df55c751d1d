// Writes a Brotli and a gzip copy beside each built file, so that the server compresses nothing itself,
// and prints what a visitor downloads before the sign-in form can be used.

import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Plugin } from 'vite';

const SMALLEST_BYTES = 1024;
const FIRST_LOAD_LIMIT_KIB = 60;

/** Compresses the built files and fails the build if the first load outgrows its limit. */
export function precompress(): Plugin {
  let outDir = 'dist';
  return {
    name: 'precompress',
    apply: 'build',
    configResolved(config) {
      outDir = join(config.root, config.build.outDir);
    },
    async closeBundle() {
      const gzipped = new Map<string, number>();
      for (const file of await filesUnder(outDir)) {
        const bytes = await readFile(file);
        const small = await promisify(gzip)(bytes, { level: 9 });
        gzipped.set(relative(outDir, file), small.length);
        // The page itself has a kilobyte, and scanners take any compressed one for a leak of what it holds (BREACH).
        if (bytes.length <= SMALLEST_BYTES || file.endsWith('.html')) continue;
        const smaller = await promisify(brotliCompress)(bytes, {
          params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
        });
        await writeFile(`${file}.gz`, small);
        await writeFile(`${file}.br`, smaller);
      }
      await reportFirstLoad(outDir, gzipped);
    },
  };
}

async function filesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function reportFirstLoad(outDir: string, gzipped: Map<string, number>): Promise<void> {
  const html = await readFile(join(outDir, 'index.html'), 'utf8');
  const named = [...html.matchAll(/(?:src|href)="\.\/([^"]+\.(?:js|css))"/g)].map((match) => match[1] ?? '');
  const bytes = named.reduce((sum, name) => sum + (gzipped.get(name) ?? 0), 0);
  const kib = bytes / 1024;
  process.stdout.write(`before the sign-in form: ${kib.toFixed(1)} KiB gzip of JS and CSS (limit ${FIRST_LOAD_LIMIT_KIB})\n`);
  if (kib > FIRST_LOAD_LIMIT_KIB) throw new Error('the first load is over its limit');
}
