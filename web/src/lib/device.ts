// A browser's name for people, read from its user agent.

const BROWSERS: [RegExp, string][] = [
  [/\bEdgA?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\b(?:Firefox|FxiOS)\//, 'Firefox'],
  [/\b(?:Chromium)\//, 'Chromium'],
  [/\b(?:Chrome|HeadlessChrome|CriOS)\//, 'Chrome'],
  [/\bVersion\/[\d.]+.*\bSafari\//, 'Safari'],
  [/^curl\//, 'curl'],
  [/^Python|python-requests|aiohttp/, 'Python'],
];

const SYSTEMS: [RegExp, string][] = [
  [/iPhone/, 'iPhone'],
  [/iPad/, 'iPad'],
  [/Android/, 'Android'],
  [/Windows/, 'Windows'],
  [/Macintosh|Mac OS X/, 'macOS'],
  [/CrOS/, 'ChromeOS'],
  [/Linux|X11/, 'Linux'],
];

export interface Device {
  browser: string | null;
  system: string | null;
  isHandheld: boolean;
}

/** Reads browser and system from a user agent; what it does not know stays null. */
export function readUserAgent(userAgent: string): Device {
  const find = (table: [RegExp, string][]): string | null =>
    table.find(([pattern]) => pattern.test(userAgent))?.[1] ?? null;
  return {
    browser: find(BROWSERS),
    system: find(SYSTEMS),
    isHandheld: /iPhone|iPad|Android|Mobile/.test(userAgent),
  };
}
