/**
 * Paints code with its colours but without an editor: what a cell shows until somebody comes near it. Looks exactly like
 * the editor of editor.ts, line for line, so that nothing moves when one takes the other's place.
 */
import { classHighlighter, highlightCode } from "@lezer/highlight";
import { knownLanguage } from "./languages";

/** Beyond this, colours are not worth their time: the text is painted plainly. In UTF-16 units. */
const LONGEST_COLOURED = 100_000;

/** Replaces what `element` shows by `code`, one `.painted-line` per line. */
export function paint(element: HTMLElement, code: string, language: string): void {
  const grammar = knownLanguage(language);
  const lines: HTMLElement[] = [];
  let line = newLine(lines);
  const put = (text: string, classes: string): void => {
    if (!classes) {
      line.append(text);
      return;
    }
    const span = document.createElement("span");
    span.className = classes;
    span.textContent = text;
    line.append(span);
  };
  if (grammar && code.length <= LONGEST_COLOURED) {
    highlightCode(code, grammar.parser.parse(code), classHighlighter, put, () => {
      line = newLine(lines);
    });
  } else {
    for (const [index, text] of code.split("\n").entries()) {
      if (index > 0) line = newLine(lines);
      put(text, "");
    }
  }
  // An empty block has no height: a line break gives it the height of a line, and is copied as one.
  for (const each of lines) each.append("\n");
  element.replaceChildren(...lines);
}

function newLine(lines: HTMLElement[]): HTMLElement {
  const line = document.createElement("span");
  line.className = "painted-line";
  lines.push(line);
  return line;
}
