// After a refusal the focus goes to the first field that has to be changed.

import { tick } from 'svelte';

/** Focuses and selects the first invalid field of a form, once the errors are shown. */
export async function focusFirstError(form: HTMLElement | undefined): Promise<void> {
  await tick();
  const field = form?.querySelector<HTMLInputElement>('[aria-invalid="true"]');
  field?.focus();
  field?.select();
}
