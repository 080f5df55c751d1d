// Networks from which a token may be used, as people type them: addresses and CIDR blocks (RFC 4632, RFC 4291 §2.3).

/** Splits a text at commas, spaces and line ends. */
export function splitNetworks(typed: string): string[] {
  return typed.split(/[\s,;]+/).filter((entry) => entry !== '');
}

export type NetworkProblem = { kind: 'address'; entry: string } | { kind: 'prefix'; entry: string; longest: number };

/** Returns the first entry that is neither an address nor a network, and why; null where all are good. */
export function networkProblem(entries: string[]): NetworkProblem | null {
  for (const entry of entries) {
    const [address = '', prefix, ...rest] = entry.split('/');
    const longest = bitsOf(address);
    if (longest === null || rest.length > 0) return { kind: 'address', entry };
    if (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= longest)) return { kind: 'prefix', entry, longest };
  }
  return null;
}

function bitsOf(address: string): 32 | 128 | null {
  if (/^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/.test(address)) return 32;
  return isIpv6(address) ? 128 : null;
}

function isIpv6(address: string): boolean {
  if (!/^[\da-f:.]+$/i.test(address) || !address.includes(':')) return false;
  // The browser's own parser knows every way to write one.
  return URL.canParse(`http://[${address}]/`);
}

/** Writes a network as people do: a single address without its prefix. */
export function networkName(network: string): string {
  return network.replace(network.includes(':') ? /\/128$/ : /\/32$/, '');
}
