// How good or bad a thing is.

export type Tone = 'good' | 'warn' | 'bad';
