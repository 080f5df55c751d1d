// Saving a text as a file, without asking the server for it.

/** Hands a text to the browser as a file to save. */
export function saveText(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(url); }, 60_000);
}

/** Makes a file name of words that may hold anything. */
export function fileName(...words: string[]): string {
  return `${words.map((word) => word.replace(/[^\p{L}\p{N}.-]+/gu, '-')).join('-')}.txt`;
}
