// The same place under the other scheme: the host answers plain HTTP and HTTPS on one port.

export type Scheme = 'http' | 'https';

const DEFAULT_PORTS: Record<Scheme, string> = { http: '80', https: '443' };

interface Here {
  protocol: string;
  hostname: string;
  port: string;
}

/** Returns the address of a path on this very host and port, under a scheme. */
export function addressUnder(scheme: Scheme, here: Here, path: string): string {
  const port = here.port === '' ? DEFAULT_PORTS[here.protocol === 'https:' ? 'https' : 'http'] : here.port;
  return `${scheme}://${here.hostname}${port === DEFAULT_PORTS[scheme] ? '' : `:${port}`}${path}`;
}
