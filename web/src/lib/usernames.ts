// What a user name may look like. `access/profile.rs` decides; this tells it early.

const LONGEST = 64;

/** Returns the key of the sentence for what is wrong with a user name, or null. */
export function usernameProblem(name: string): 'usernameRequired' | 'usernameLong' | 'usernameSpace' | 'usernameControl' | null {
  if (name === '') return 'usernameRequired';
  if (name !== name.trim()) return 'usernameSpace';
  if (/\p{Cc}/u.test(name)) return 'usernameControl';
  return [...name.normalize('NFC')].length > LONGEST ? 'usernameLong' : null;
}
