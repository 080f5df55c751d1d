// All shells of this page. They live beside the routes: leaving the terminal for another page ends none.

import * as api from '../../api/client.ts';
import { session } from '../../state/session.svelte.ts';
import { theme } from '../../state/theme.svelte.ts';
import { look } from './look.svelte.ts';
import { Shell } from './shell.svelte.ts';

class Shells {
  all = $state.raw<Shell[]>([]);
  current = $state.raw<Shell | null>(null);
  #wasVisited = false;

  /** Opens the first shell of a visit, or those that a reload of the page left behind. */
  visit(): void {
    if (this.#wasVisited) return;
    this.#wasVisited = true;
    const left = leftBehind();
    for (const { id, name } of left) this.#add(id, name);
    if (left.length === 0) this.open();
    else this.current = this.all[0] ?? null;
  }

  /** Opens a new shell and shows it. */
  open(): void {
    this.current = this.#add(null, null);
  }

  show(shell: Shell): void {
    this.current = shell;
  }

  /** Shows the one before or after. */
  step(steps: 1 | -1): void {
    const { length } = this.all;
    const at = this.all.findIndex((shell) => shell === this.current);
    if (at >= 0) this.current = this.all[(at + steps + length) % length] ?? this.current;
  }

  /** Ends a shell and shows its neighbour. */
  close(shell: Shell): void {
    const at = this.all.indexOf(shell);
    this.all = this.all.filter((one) => one !== shell);
    shell.dispose();
    if (this.current === shell) this.current = this.all[Math.min(at, this.all.length - 1)] ?? null;
    this.keep();
  }

  hurry(): void {
    for (const shell of this.all) shell.hurry();
  }

  /** Forgets all shells: whoever saw them is not here any more. */
  forget(): void {
    for (const shell of this.all) shell.dispose();
    this.all = [];
    this.current = null;
    this.#wasVisited = false;
    this.keep();
  }

  /** Lets a reload of the page find its shells again. Their names open nothing without the session. */
  keep(): void {
    const kept = this.all.flatMap(({ terminalId, name }) => terminalId === null ? [] : [{ id: terminalId, name }]);
    if (HERE.test(location.pathname)) history.replaceState(kept.length === 0 ? null : { shells: kept }, '');
  }

  #add(terminalId: string | null, name: string | null): Shell {
    const numbers = new Set(this.all.map((shell) => shell.number));
    let number = 1;
    while (numbers.has(number)) number += 1;
    const shell = new Shell(number, terminalId, () => { this.keep(); void this.#follow(shell); });
    shell.name = name;
    this.all = [...this.all, shell];
    shell.open();
    return shell;
  }

  /** What follows where a shell ends. */
  async #follow(shell: Shell): Promise<void> {
    // With its session: the session itself is asked about.
    if (shell.phase === 'session') await api.terminalHealth().catch(() => {});
    // Left behind too long ago: nobody has to read that.
    else if (shell.phase === 'gone' && !shell.wasOpen) {
      if (this.all.length > 1) this.close(shell);
      else shell.open();
    }
  }
}

const HERE = /\/terminal\/?$/;

function leftBehind(): { id: string; name: string | null }[] {
  const state = history.state as { shells?: unknown } | null;
  if (!Array.isArray(state?.shells)) return [];
  return (state.shells as unknown[]).filter((one): one is { id: string; name: string | null } =>
    typeof one === 'object' && one !== null && 'id' in one && typeof one.id === 'string' && 'name' in one && (one.name === null || typeof one.name === 'string'));
}

export const shells = new Shells();

const EMPTY_HANDED: ReadonlySet<string> = new Set(['login', 'locked', 'first-launch']);

window.addEventListener('online', () => { shells.hurry(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) shells.hurry(); });

$effect.root(() => {
  $effect(() => { if (EMPTY_HANDED.has(session.phase)) shells.forget(); });
  $effect(() => {
    const { size, isRead } = look;
    for (const shell of shells.all) shell.screen.setLook({ size, isRead });
  });
  // Also where the system changes it.
  $effect(() => {
    void theme.name;
    for (const shell of shells.all) shell.screen.recolour();
  });
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { for (const shell of shells.all) shell.screen.recolour(); });
