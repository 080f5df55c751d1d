// What is typed to get a certificate from an authority: kept while it is asked, whatever comes of it.

import type { Acme, AcmeChallenge, AcmeWish } from '../../api/types.ts';
import { isLetsEncrypt, isPublicName, nameProblem, splitNames } from '../../lib/acme.ts';
import { pathProblem } from '../../lib/certificates.ts';
import type { Texts } from '../../texts/en.ts';
import type { HttpsTexts } from '../../texts/https/en.ts';

const FIELDS = ['names', 'email', 'agree_terms', 'challenge', 'directory', 'ca_path'] as const;
export type AcmeField = (typeof FIELDS)[number];

const UNDER_MORE = new Set<AcmeField>(['challenge', 'directory', 'ca_path']);

export class AcmeDraft {
  names = $state('');
  email = $state('');
  isAgreed = $state(false);
  challenge = $state<AcmeChallenge>('http-01');
  /** Empty for Let's Encrypt. */
  directory = $state('');
  caPath = $state('');
  isMoreOpen = $state(false);
  errors = $state.raw<Partial<Record<AcmeField, string>>>({});

  isLetsEncrypt = $derived(this.directory.trim() === '' || isLetsEncrypt(this.directory.trim()));

  /** Begins with what was asked for last, or with the name in the address bar where an authority could know it. */
  constructor(last: Acme | null, hostname: string) {
    if (last === null) {
      this.names = isPublicName(hostname) ? hostname : '';
      return;
    }
    this.names = last.names.join('\n');
    this.email = last.email ?? '';
    this.challenge = last.challenge;
    this.directory = isLetsEncrypt(last.directory) ? '' : last.directory;
    this.caPath = last.ca_path ?? '';
    this.isMoreOpen = this.challenge !== 'http-01' || this.directory !== '' || this.caPath !== '';
  }

  /** Returns what is sent; what was left empty is left out. */
  wish(): AcmeWish {
    const [email, directory, caPath] = [this.email.trim(), this.directory.trim(), this.caPath.trim()];
    return {
      names: splitNames(this.names),
      ...(email === '' ? {} : { email }),
      challenge: this.challenge,
      ...(directory === '' ? {} : { directory }),
      ...(caPath === '' ? {} : { ca_path: caPath }),
      agree_terms: this.isAgreed,
    };
  }

  /** Tells whether it can be sent; notes what is missing. */
  check({ acmeFaults, choice }: HttpsTexts, { names_missing: missing, terms_not_agreed: notAgreed }: Texts['errors']): boolean {
    const names = splitNames(this.names);
    const bad = nameProblem(names, this.isLetsEncrypt);
    const found: Partial<Record<AcmeField, string>> = {};
    if (names.length === 0) found.names = missing;
    else if (bad !== null) found.names = acmeFaults[bad.fault](bad.entry);
    if (!this.isAgreed) found.agree_terms = notAgreed;
    if (pathProblem(this.caPath) === 'relative') found.ca_path = choice.pathRelative;
    this.#setErrors(found);
    return Object.keys(found).length === 0;
  }

  /** Puts a refusal beside its field; false where there is none. */
  refuse(field: string | undefined, text: string): boolean {
    const known = FIELDS.find((name) => name === field);
    if (known !== undefined) this.#setErrors({ [known]: text });
    return known !== undefined;
  }

  /** Forgets what was said of a field that is being changed. */
  clear(field: AcmeField): void {
    const { [field]: _, ...rest } = this.errors;
    this.errors = rest;
  }

  #setErrors(errors: Partial<Record<AcmeField, string>>): void {
    this.errors = errors;
    if (FIELDS.some((field) => UNDER_MORE.has(field) && errors[field] !== undefined)) this.isMoreOpen = true;
  }
}
