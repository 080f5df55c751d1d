// Whether the server answers, and whether the way to it is encrypted.

class Connection {
  /** The last call got no answer. */
  isLost = $state(false);

  /** The host speaks only HTTPS now, and this page was loaded before. */
  isPlainRefused = $state(false);

  /** The browser's own word for it: HTTPS. */
  readonly isEncrypted = location.protocol === 'https:';
}

export const connection = new Connection();
