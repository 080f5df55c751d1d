// Copying text. The clipboard interface is there only on HTTPS, so there is a second way.

/** Copies a text; tells whether it worked. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const opener = document.activeElement;
  const area = document.createElement('textarea');
  area.value = text;
  area.readOnly = true;
  area.className = 'vh';
  // Behind a modal dialog nothing can be selected.
  (opener?.closest('dialog') ?? document.body).append(area);
  area.select();
  // Deprecated, and the only way over plain HTTP.
  const isCopied = document.execCommand('copy');
  area.remove();
  if (opener instanceof HTMLElement) opener.focus();
  return isCopied;
}
