import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { chunks } from './build/chunks.ts';
import { policy } from './build/policy.ts';
import { precompress } from './build/precompress.ts';

export default defineConfig({
  base: './',
  plugins: [svelte(), policy(), precompress()],
  // Not bundled ahead: `policy` has to see its source.
  optimizeDeps: { exclude: ['@xterm/xterm'] },
  build: {
    // Nothing is inlined as `data:`: every script and style is a file that the policy can name.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        codeSplitting: { groups: chunks },
      },
    },
    target: ['chrome111', 'firefox115', 'safari16.4'],
  },
  server: {
    // The host stays as the browser sent it: the server compares it with the origin.
    proxy: Object.fromEntries(['/api', '/ws'].map((path) => [path, { target: process.env['MONITOR_SERVER'] ?? 'http://127.0.0.1:8008', changeOrigin: false, ws: true }])),
    // The list of common passwords lies beside the page, in the server's data folder.
    fs: { allow: [fileURLToPath(new URL('..', import.meta.url))] },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
