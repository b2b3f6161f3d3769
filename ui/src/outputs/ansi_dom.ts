/** Draws terminal text as spans. No HTML string is ever made: what the text says stays text. */
import { type AnsiColor, type AnsiRun, type AnsiStyle, PLAIN } from "./ansi";
import { element } from "./dom";

const FLAGS = ["bold", "dim", "italic", "underline", "strike", "hidden"] as const;
const URL_IN_TEXT = /https?:\/\/[^\s<>"'`\\^{|}]+/g;
/** Punctuation at the end of a URL in prose belongs to the prose. */
const AFTER_URL = /[.,;:!?)\]]+$/;

export function appendRuns(parent: Node, runs: readonly AnsiRun[]): void {
  for (const run of runs) appendRun(parent, run);
}

function appendRun(parent: Node, run: AnsiRun): void {
  if (run.style === PLAIN) {
    appendLinked(parent, run.text);
    return;
  }
  const span = run.style.link === null ? element("span") : linkTo(run.style.link);
  dress(span, run.style);
  if (run.style.link === null) appendLinked(span, run.text);
  else span.append(run.text);
  parent.appendChild(span);
}

/** Text with its URLs made into links. */
function appendLinked(parent: Node, text: string): void {
  let at = 0;
  // Almost no text has a URL: look for the cheap sign first.
  if (text.includes("://")) {
    for (const match of text.matchAll(URL_IN_TEXT)) {
      const url = match[0].replace(AFTER_URL, "");
      if (match.index > at) parent.appendChild(document.createTextNode(text.slice(at, match.index)));
      const link = linkTo(url);
      link.append(url);
      parent.appendChild(link);
      at = match.index + url.length;
    }
  }
  if (at < text.length) parent.appendChild(document.createTextNode(text.slice(at)));
}

function linkTo(url: string): HTMLAnchorElement {
  return element("a", { href: url, target: "_blank", rel: "noopener noreferrer" });
}

function dress(span: HTMLElement, style: AnsiStyle): void {
  for (const flag of FLAGS) if (style[flag]) span.classList.add(`ansi-${flag}`);
  if (style.inverse) span.classList.add("ansi-inverse");
  const [fg, bg] = style.inverse ? [style.bg, style.fg] : [style.fg, style.bg];
  paint(span, "fg", fg);
  paint(span, "bg", bg);
}

function paint(span: HTMLElement, side: "fg" | "bg", color: AnsiColor | null): void {
  if (color === null) return;
  if (typeof color === "number") span.classList.add(`ansi-${side}-${color}`);
  else {
    // Through a variable: the style sheet moves a colour until it can be read on the page (outputs.css).
    span.classList.add(`ansi-${side}-own`);
    span.style.setProperty(`--ansi-${side}`, color);
  }
}
