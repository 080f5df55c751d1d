// Paths under the base at which the page is served: `/`, or a prefix that a proxy strips.

export type PageName = 'overview' | 'terminal' | 'security' | 'profile' | 'settings' | 'setup' | 'kit' | 'unknown';

const PAGES: Record<string, PageName> = {
  '': 'overview',
  terminal: 'terminal',
  security: 'security',
  profile: 'profile',
  settings: 'settings',
  setup: 'setup',
  'security/kit': 'kit',
};

/** Returns the base of a bundle that lies in `<base>assets/`. */
export function baseOfBundle(bundleUrl: string): string {
  return new URL('..', bundleUrl).pathname;
}

/** Returns the page that a path names. */
export function pageAt(pathname: string, base: string): PageName {
  if (!`${pathname}/`.startsWith(base)) return 'unknown';
  const rest = pathname.slice(base.length).replace(/\/$/, '');
  return Object.hasOwn(PAGES, rest) ? (PAGES[rest] ?? 'unknown') : 'unknown';
}

/** Returns the path of a page. */
export function pathOf(page: PageName, base: string): string {
  if (page === 'overview') return base;
  return base + (page === 'kit' ? 'security/kit' : page);
}

/** Returns the value of `X-Monitor-Base`: no trailing slash, empty at the root. */
export function baseHeader(base: string): string {
  return base.replace(/\/$/, '');
}
