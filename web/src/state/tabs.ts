// What the tabs of one browser tell each other, so that they agree on who is signed in.

import { BASE } from './router.svelte.ts';

export type TabMessage = 'signed-in' | 'signed-out' | 'profile-changed' | 'protection-changed' | 'active';

// Two servers behind one proxy share an origin, so the base is part of the name.
const channel = 'BroadcastChannel' in window ? new BroadcastChannel(`monitor:${BASE}`) : null;

/** Tells the other tabs. */
export function tellTabs(message: TabMessage): void {
  channel?.postMessage(message);
}

/** Listens to the other tabs. */
export function hearTabs(listener: (message: TabMessage) => void): void {
  channel?.addEventListener('message', (event: MessageEvent<TabMessage>) => { listener(event.data); });
}
