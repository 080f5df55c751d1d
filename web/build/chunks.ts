// Which modules lie together in a file of the built page.

import { fileURLToPath } from 'node:url';

interface Graph { getModuleInfo(id: string): { importedIds: readonly string[] } | null }

const ENTRY = fileURLToPath(new URL('../index.html', import.meta.url));
const SHARED = /node_modules|src\/(?:api|lib|state|parts|texts)\//;
/** The second language comes alone, when it is the reader's; the terminal's words come with the terminal. */
const ALONE = /src\/texts\/(?:es\.ts|terminal\/)/;
/** The terminal is large, and few visits open it. */
const TERMINAL = /node_modules\/@xterm\//;

let first: ReadonlySet<string> | null = null;

/** Returns what the first screen imports, by however many steps. */
function neededAtFirst(graph: Graph): ReadonlySet<string> {
  const found = new Set<string>();
  const open = [ENTRY];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (found.has(id)) continue;
    found.add(id);
    open.push(...(graph.getModuleInfo(id)?.importedIds ?? []));
  }
  return found;
}

/** Two shared chunks instead of thirty crumbs; each screen stays apart. A chunk takes along what it imports, so the order counts. */
export const chunks = [
  { name: (id: string): string | null => (TERMINAL.test(id) ? 'xterm' : null), debugName: 'xterm', priority: 3 },
  { name: (id: string, graph: Graph): string | null => (isShared(id) && isFirst(id, graph) ? 'shared' : null), debugName: 'shared', priority: 2 },
  { name: (id: string): string | null => (isShared(id) ? 'inside' : null), debugName: 'inside', priority: 1 },
];

function isShared(id: string): boolean {
  return SHARED.test(id) && !ALONE.test(id);
}

function isFirst(id: string, graph: Graph): boolean {
  first ??= neededAtFirst(graph);
  return first.has(id);
}
