// Sets the chosen theme before the first paint; without a choice the system decides.
(() => {
  try {
    const chosen = localStorage.getItem('monitor-theme');
    if (chosen === 'light' || chosen === 'dark') document.documentElement.setAttribute('data-theme', chosen);
  } catch {
    // Storage is switched off: the system's theme is shown.
  }
})();
