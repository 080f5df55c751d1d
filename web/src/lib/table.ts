// Looking up a sentence by a word that came from the server.

/** Returns the entry of a table of texts, or undefined where it has none. */
export function lookUp<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}
