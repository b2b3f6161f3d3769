/**
 * Math with KaTeX, which is loaded when the first formula is drawn. KaTeX builds elements itself (no HTML strings), so nothing
 * needs sanitising after it, and its inline styles pass a Content-Security-Policy.
 */
import type { KatexOptions } from "katex";

const MARKS = /\$[^$]|\\\(|\\\[|\\begin\{/;

/** Whether it is worth looking for formulas at all. */
export function hasMath(text: string): boolean {
  return MARKS.test(text);
}

const OPTIONS: KatexOptions = {
  throwOnError: false,
  errorColor: "var(--danger)",
  strict: "ignore",
  // Links only to the web; no \htmlClass, \includegraphics and the like.
  trust: (command) =>
    (command.command === "\\href" || command.command === "\\url") && /^(?:https?|mailto)$/.test(command.protocol ?? ""),
  maxExpand: 1000,
  maxSize: 50,
};

const DELIMITERS = [
  { left: "$$", right: "$$", display: true },
  { left: "\\[", right: "\\]", display: true },
  { left: "\\(", right: "\\)", display: false },
  ...[
    "equation",
    "equation*",
    "align",
    "align*",
    "alignat",
    "alignat*",
    "gather",
    "gather*",
    "CD",
    "multline",
    "multline*",
    "eqnarray",
    "eqnarray*",
  ].map((name) => ({ left: `\\begin{${name}}`, right: `\\end{${name}}`, display: true })),
  { left: "$", right: "$", display: false },
];

async function load() {
  const [katex] = await Promise.all([import("katex"), import("katex/dist/katex.min.css")]);
  return katex.default;
}

/** Draws one formula (without its delimiters) into `place`. */
export async function renderFormula(place: HTMLElement, tex: string, display: boolean): Promise<void> {
  const katex = await load();
  katex.render(tex, place, { ...OPTIONS, displayMode: display });
  tieLinks(place);
}

/** Draws all formulas in the text of `place`, found by their delimiters; code is left alone. */
export async function typesetMath(place: HTMLElement): Promise<void> {
  const [{ default: autoRender }] = await Promise.all([import("katex/contrib/auto-render"), load()]);
  autoRender(place, {
    ...OPTIONS,
    delimiters: DELIMITERS,
    ignoredTags: ["script", "noscript", "style", "textarea", "pre", "code", "option"],
  });
  tieLinks(place);
}

function tieLinks(place: HTMLElement): void {
  for (const link of place.querySelectorAll<HTMLAnchorElement>(".katex a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
}
