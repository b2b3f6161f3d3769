/**
 * Light or dark: follows the system until a person chooses otherwise; the choice stays in this browser.
 *
 * Colours are in tokens.css; this module only sets `data-theme` on the root element.
 */

export type Theme = "system" | "light" | "dark";

const KEY = "homeport.theme";

/** The choice that is in force. A browser that refuses storage (private windows, policies) follows the system. */
export function chosenTheme(): Theme {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === "light" || stored === "dark" ? stored : "system";
  } catch {
    return "system";
  }
}

/** Chooses, applies and keeps a theme; other tabs of this browser follow through {@link startTheme}. */
export function chooseTheme(theme: Theme): void {
  try {
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // The choice then holds for this page only.
  }
  apply(theme);
}

/** Applies the kept choice to this page and follows choices made in other tabs. Call once, before the first paint. */
export function startTheme(): void {
  apply(chosenTheme());
  addEventListener("storage", (event) => {
    if (event.key === KEY) apply(chosenTheme());
  });
}

/** What is seen now: "system" resolved. */
export function effectiveTheme(): "light" | "dark" {
  const theme = document.documentElement.dataset.theme;
  if (theme === "light" || theme === "dark") return theme;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Calls back whenever {@link effectiveTheme} may have changed. Returns "stop". */
export function onThemeChange(callback: () => void): () => void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(callback);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  query.addEventListener("change", callback);
  return () => {
    observer.disconnect();
    query.removeEventListener("change", callback);
  };
}

function apply(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
