// The traffic of the whole host, from that of its interfaces.

/** Interfaces that carry what others have carried already: bridges, bonds, VLANs, tunnels. */
const CARRIED_TWICE = /^(?:lo|vmbr|br-|br\d|bond|docker|virbr|vlan|wg|tun|tap|tailscale)|\./;

interface Rates {
  name: string;
  rx_bytes_per_second: number;
  tx_bytes_per_second: number;
}

/** Adds up the cards of the host; where there is none, all that there is. */
export function trafficOf(interfaces: Rates[]): { received: number; sent: number } {
  const cards = interfaces.filter(({ name }) => !CARRIED_TWICE.test(name));
  const counted = cards.length > 0 ? cards : interfaces;
  return {
    received: counted.reduce((sum, card) => sum + card.rx_bytes_per_second, 0),
    sent: counted.reduce((sum, card) => sum + card.tx_bytes_per_second, 0),
  };
}
