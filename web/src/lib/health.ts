// How the host is, in one sentence of the reader's language.

import type { HealthReason, HealthStatus } from '../api/types.ts';
import type { Texts } from '../texts/en.ts';
import { celsius, number, percent } from './format.ts';
import { lookUp } from './table.ts';

export interface HealthFacts {
  status: HealthStatus;
  reasons: HealthReason[];
  guestsRunning: number;
}

/** Writes one reason; an unknown one falls back to how bad it is. */
export function reasonSentence(reason: HealthReason, t: Texts, language: string): string {
  const sentence = lookUp<(subject: string, value: string) => string>(t.reasons, reason.code);
  if (sentence === undefined) return statusSentence(reason.status, t);
  return sentence(reason.subject ?? '', valueOf(reason, language));
}

function valueOf({ code, value }: HealthReason, language: string): string {
  if (value === null) return '';
  if (code === 'temperature_critical') return celsius(value, language);
  return code === 'load_high' ? number(value, language, 1) : percent(value, language);
}

/** Writes the status alone, for those who may not know the reasons. */
export function statusSentence(status: HealthStatus, t: Texts): string {
  if (status === 'healthy') return t.overview.wellSentence;
  return status === 'warning' ? t.healthWarning : t.healthCritical;
}

/** Writes the worst reason and how many more there are; where all is well, how many guests run. */
export function healthSentence({ status, reasons, guestsRunning }: HealthFacts, t: Texts, language: string): string {
  const [worst, ...others] = reasons;
  if (worst !== undefined) {
    const sentence = reasonSentence(worst, t, language);
    return others.length === 0 ? sentence : `${sentence}, ${t.more(others.length)}`;
  }
  const sentence = statusSentence(status, t);
  return status === 'healthy' && guestsRunning > 0 ? `${sentence}, ${t.overview.guestsRunning(guestsRunning)}` : sentence;
}
