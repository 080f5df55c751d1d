// Which page is shown: history routing under whatever base the page is served at.

import { tick } from 'svelte';
import { baseHeader, baseOfBundle, pageAt, pathOf, type PageName } from '../lib/paths.ts';

/** Where the page is served. While developing, the bundle does not lie in `assets/`. */
export const BASE = import.meta.env.DEV ? '/' : baseOfBundle(import.meta.url);
export const BASE_HEADER = baseHeader(BASE);

class Router {
  page = $state<PageName>(pageAt(location.pathname, BASE));
  /** How often the page has changed since it was loaded. */
  visit = $state(0);
  /** Asked before Back or Forward leads to another page; true stays on this one. */
  stays: (() => boolean) | null = null;

  /** Follows links within the page, Back and Forward. */
  start(): void {
    window.addEventListener('popstate', () => { this.#travel(pageAt(location.pathname, BASE)); });
    document.addEventListener('click', (event) => { this.#follow(event); });
  }

  /** Returns the address of a page, for links. */
  href(page: PageName): string {
    return pathOf(page, BASE);
  }

  /** Goes to a page. */
  go(page: PageName, hash = ''): void {
    if (page !== this.page) history.pushState(null, '', this.href(page) + hash);
    this.#show(page);
    scrollTo(0, 0);
  }

  /** Goes to a page in place of the present one. */
  replace(page: PageName): void {
    history.replaceState(null, '', this.href(page));
    this.#show(page);
  }

  /** Goes back to where one came from. */
  back(): void {
    if (this.visit > 0) history.back();
    else this.replace('overview');
  }

  #travel(page: PageName): void {
    if (page !== this.page && this.stays?.() === true) history.pushState(null, '', this.href(this.page));
    else this.#show(page);
  }

  #show(page: PageName): void {
    if (page === this.page) return;
    this.page = page;
    this.visit += 1;
  }

  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a[href]') : null;
    if (!(link instanceof HTMLAnchorElement) || link.target !== '' || link.origin !== location.origin) return;
    const isWithinPage = link.pathname === location.pathname && link.hash !== '';
    if (isWithinPage || !link.pathname.startsWith(BASE)) return;
    event.preventDefault();
    this.go(pageAt(link.pathname, BASE), link.hash);
    if (link.hash !== '') void scrollToId(link.hash.slice(1));
  }
}

async function scrollToId(id: string): Promise<void> {
  await tick();
  document.getElementById(id)?.scrollIntoView();
}

export const router = new Router();
