// The password rules as the server sends them, checked while one types. The server decides
// (`access/passwords.rs`); this only spares a round trip.

export interface PasswordPolicy {
  min_length: number;
  min_classes: number;
  passphrase_min_length: number;
  passphrase_min_distinct: number;
  max_bytes: number;
  product_names: string[];
}

export type Rule = 'length' | 'classes' | 'common' | 'names' | 'too_long';

export interface Circumstances {
  policy: PasswordPolicy;
  /** The user name and the host name; the product's names are in the policy. */
  names: string[];
  /** Lower-case common passwords; empty until they are loaded. */
  common: ReadonlySet<string>;
}

/** A name shorter than this says nothing about a password. */
const SHORTEST_NAME = 4;

/** Returns the rules that a password breaks, in the order in which they are shown. */
export function brokenRules(password: string, { policy, names, common }: Circumstances): Rule[] {
  const text = password.normalize('NFC');
  const broken: Rule[] = [];
  if (countCharacters(text) < policy.min_length) broken.push('length');
  if (!isPassphrase(text, policy) && countClasses(text) < policy.min_classes) broken.push('classes');
  if (isCommon(text, common)) broken.push('common');
  if (isMostlyNames(text, [...names, ...policy.product_names])) broken.push('names');
  if (new TextEncoder().encode(text).length > policy.max_bytes) broken.push('too_long');
  return broken;
}

function countCharacters(text: string): number {
  return [...text].length;
}

function isPassphrase(text: string, policy: PasswordPolicy): boolean {
  const characters = [...text];
  return characters.length >= policy.passphrase_min_length && new Set(characters).size >= policy.passphrase_min_distinct;
}

type Class = 'lower' | 'upper' | 'digit' | 'symbol';

/** Letters of scripts without case count as lower case. */
function classOf(character: string): Class {
  if (/\p{Uppercase}/u.test(character)) return 'upper';
  if (/\p{Lowercase}/u.test(character)) return 'lower';
  if (/\p{N}/u.test(character)) return 'digit';
  return /\p{Alphabetic}/u.test(character) ? 'lower' : 'symbol';
}

/** Counts which of lower case, upper case, digit and symbol occur. */
export function countClasses(text: string): number {
  return new Set([...text].map(classOf)).size;
}

/** Tells whether a password is a common one, also with digits and symbols put behind it. */
export function isCommon(text: string, common: ReadonlySet<string>): boolean {
  const characters = [...text.toLowerCase()];
  if (common.has(characters.join(''))) return true;
  // Down to half of the password each shorter beginning counts; below that only the bare stem.
  let left = characters.length;
  while (left > 0 && isOrnament(characters[left - 1] ?? '')) {
    left -= 1;
    const isStem = left === 0 || !isOrnament(characters[left - 1] ?? '');
    if ((isStem || left * 2 > characters.length) && common.has(characters.slice(0, left).join(''))) return true;
  }
  return false;
}

function isOrnament(character: string): boolean {
  const kind = classOf(character);
  return kind === 'digit' || kind === 'symbol';
}

/** Tells whether names cover more than half of the characters. */
function isMostlyNames(text: string, names: string[]): boolean {
  const characters = [...text.toLowerCase()];
  const covered = new Set<number>();
  for (const name of names.flatMap((given) => [given, given.split('.')[0] ?? given])) {
    const wanted = [...name.normalize('NFC').toLowerCase()];
    if (wanted.length < SHORTEST_NAME) continue;
    for (let start = 0; start + wanted.length <= characters.length; start += 1) {
      if (wanted.every((character, offset) => characters[start + offset] === character)) {
        wanted.forEach((_, offset) => covered.add(start + offset));
      }
    }
  }
  return covered.size * 2 > characters.length;
}

/** Reads the shipped list: one lower-case password a line. */
export function parseCommonList(text: string): ReadonlySet<string> {
  return new Set(text.split('\n').filter((line) => line !== ''));
}
