// Avatars: the letter that stands for a missing image, and what may be uploaded.

const GROUNDS = 8;
const MAX_BYTES = 2 * 1024 * 1024;

export const AVATAR_TYPES = ['image/png', 'image/jpeg', 'image/webp', 'image/gif'];

/** Returns the letter shown where there is no image. */
export function initial(name: string): string {
  const first = [...name.trim()][0];
  return first === undefined ? '?' : first.toLocaleUpperCase();
}

/** Returns which of the eight grounds belongs to a name (FNV-1a, so that near names differ). */
export function groundOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const character of name) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  return (hash >>> 0) % GROUNDS;
}

/** Returns the code of the refusal that the server would give, or null where it may accept. */
export function refusalOf(file: { type: string; size: number }): string | null {
  if (file.size === 0) return 'avatar_empty';
  if (!AVATAR_TYPES.includes(file.type)) return 'avatar_unsupported';
  if (file.size > MAX_BYTES) return 'avatar_too_large';
  return null;
}
