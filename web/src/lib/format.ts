// Numbers, sizes and times in the reader's language. A number and its unit are parted by a space
// that does not break.

const NBSP = '\u00a0';

const DURATIONS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['week', 604_800],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

/** Keeps a host name in one piece where a sentence wraps. */
export function unbroken(name: string): string {
  return name.replaceAll('-', '-\u2060');
}

/** Writes a number with at most `digits` decimals. */
export function number(value: number, language: string, digits = 0): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/** Writes a percentage, without decimals from ten on. */
export function percent(value: number, language: string): string {
  return `${number(value, language, value < 10 ? 1 : 0)}${NBSP}%`;
}

export interface Reading {
  value: string;
  unit: string;
}

/** Scales a value to the largest unit of which it has at least one, with three figures. */
function scale(value: number, base: number, units: string[], language: string): Reading {
  let rest = value;
  let index = 0;
  while (Math.abs(rest) >= base && index < units.length - 1) {
    rest /= base;
    index += 1;
  }
  const digits = index === 0 || rest >= 100 ? 0 : 1;
  return { value: number(rest, language, digits), unit: units[index] ?? '' };
}

/** Writes memory in binary units. */
export function memory(bytes: number, language: string): Reading {
  return scale(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], language);
}

/** Writes disk space in decimal units, as disks are sold. */
export function space(bytes: number, language: string): Reading {
  return scale(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], language);
}

/** Writes the speed of a disk, given in bytes a second. */
export function byteRate(bytesPerSecond: number, language: string): Reading {
  return scale(bytesPerSecond, 1000, ['B/s', 'kB/s', 'MB/s', 'GB/s'], language);
}

/** Writes the speed of a network, given in bytes a second, in bits. */
export function bitRate(bytesPerSecond: number, language: string): Reading {
  return scale(bytesPerSecond * 8, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s'], language);
}

/** Joins a reading to one piece of text. */
export function joined(reading: Reading): string {
  return `${reading.value}${NBSP}${reading.unit}`;
}

/** Writes a temperature. */
export function celsius(value: number, language: string): string {
  return `${number(value, language)}${NBSP}°C`;
}

/** Writes how long ago or in how long, in the largest fitting unit. */
export function relative(then: number, now: number, language: string): string {
  const seconds = Math.round((then - now) / 1000);
  const [unit, length] = DURATIONS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  return new Intl.RelativeTimeFormat(language, { numeric: 'auto' }).format(Math.trunc(seconds / length), unit);
}

/** Writes the exact moment, for titles. */
export function exact(time: number, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'medium' }).format(time);
}

/** Writes the time of day, with the date where it is not the same day. */
export function clock(time: number, now: number, language: string): string {
  const sameDay = new Date(time).toDateString() === new Date(now).toDateString();
  return new Intl.DateTimeFormat(language, sameDay
    ? { hour: 'numeric', minute: '2-digit', second: '2-digit' }
    : { day: 'numeric', month: 'long', hour: 'numeric', minute: '2-digit' }).format(time);
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}

/** Writes a countdown as minutes and seconds, with hours where there are any. */
export function countdown(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export interface UnitTexts {
  seconds: (n: number) => string;
  minutes: (n: number) => string;
  hours: (n: number) => string;
  days: (n: number) => string;
}

/** Writes a length of time with its largest units, two unless told otherwise. */
export function duration(seconds: number, texts: UnitTexts, units = 2): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts: [number, (n: number) => string][] = [
    [Math.floor(whole / 86_400), texts.days],
    [Math.floor(whole / 3600) % 24, texts.hours],
    [Math.floor(whole / 60) % 60, texts.minutes],
    [whole % 60, texts.seconds],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first === -1) return texts.seconds(0);
  return parts.slice(first, first + units).filter(([n]) => n > 0).map(([n, text]) => text(n)).join(' ');
}

/** Writes a day, without the time. */
export function day(time: number, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium' }).format(time);
}

/** Writes a day with hours and minutes. */
export function dayAndTime(time: number, language: string): string {
  return new Intl.DateTimeFormat(language, { day: 'numeric', month: 'long', hour: 'numeric', minute: '2-digit' }).format(time);
}

/** Writes in how long something ends: in days for two months, so that nobody has to count weeks. */
export function until(then: number, now: number, language: string): string {
  const days = Math.floor((then - now) / 86_400_000);
  if (days < 2 || days > 60) return relative(then, now, language);
  return new Intl.RelativeTimeFormat(language, { numeric: 'always' }).format(days, 'day');
}
