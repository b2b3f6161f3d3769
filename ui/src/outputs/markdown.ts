/**
 * Markdown as Jupyter has it: GitHub's tables and task lists, formulas, attachments, and HTML as far as it is harmless.
 *
 * Formulas are taken out before Markdown sees their underscores and asterisks. Loaded when the first Markdown is drawn.
 */
import { Marked, type TokenizerAndRendererExtension, type Tokens } from "marked";
import { highlightInto } from "./highlight";
import { renderFormula } from "./math";
import { sanitize } from "./sanitize";
import type { OutputContext } from "./types";
import { resolveUrl } from "./urls";

interface MathToken extends Tokens.Generic {
  tex: string;
  display: boolean;
}

const ENVIRONMENT = String.raw`\\begin\{([a-zA-Z]+\*?)\}[\s\S]+?\\end\{\1\}`;
/** A formula that stands alone in its lines: blank lines, dashes and hashes in it are not Markdown. */
const BLOCK = new RegExp(
  String.raw`^ {0,3}(?:\$\$([^$][\s\S]*?)\$\$|\\{1,2}\[([\s\S]+?)\\{1,2}\]|(${ENVIRONMENT.replace("\\1", "\\4")}))[ \t]*(?:\n+|$)`,
);
const INLINE_DISPLAY = new RegExp(
  String.raw`^(?:\$\$([^$]+?)\$\$|\\{1,2}\[([\s\S]+?)\\{1,2}\]|(${ENVIRONMENT.replace("\\1", "\\4")}))`,
);
const INLINE_PARENTHESES = /^\\{1,2}\(([\s\S]+?)\\{1,2}\)/;
/** Not "$5 and $10": the closing sign is not followed by a digit, and spaces inside stand on both sides or on none. */
const INLINE_DOLLARS =
  /^\$(?![\s$])((?:\\[\s\S]|[^\\$]|\n(?!\n))*?[^\\\s$]|[^\\\s$])\$(?!\d)|^\$( (?:\\[\s\S]|[^\\$\n])+? )\$(?!\d)/;

const blockMath: TokenizerAndRendererExtension = {
  name: "blockMath",
  level: "block",
  start: (source) => source.match(/(?:^|\n) {0,3}(?:\$\$|\\{1,2}\[|\\begin\{)/)?.index,
  tokenizer(source) {
    const match = BLOCK.exec(source);
    if (!match) return undefined;
    return {
      type: "blockMath",
      raw: match[0],
      tex: match[1] ?? match[2] ?? match[3] ?? "",
      display: true,
    } satisfies MathToken;
  },
  renderer: (token) => `${placeholder(token as MathToken)}\n`,
};

const inlineMath: TokenizerAndRendererExtension = {
  name: "inlineMath",
  level: "inline",
  start: (source) => source.match(/\$|\\{1,2}[([]|\\begin\{/)?.index,
  tokenizer(source) {
    const display = INLINE_DISPLAY.exec(source);
    if (display) {
      return {
        type: "inlineMath",
        raw: display[0],
        tex: display[1] ?? display[2] ?? display[3] ?? "",
        display: true,
      } satisfies MathToken;
    }
    const inline = INLINE_PARENTHESES.exec(source) ?? INLINE_DOLLARS.exec(source);
    if (!inline || /\n\s*\n/.test(inline[0])) return undefined;
    return {
      type: "inlineMath",
      raw: inline[0],
      tex: inline[1] ?? inline[2] ?? "",
      display: false,
    } satisfies MathToken;
  },
  renderer: (token) => placeholder(token as MathToken),
};

/** The formula as text in an element that survives sanitising; KaTeX draws it afterwards. */
function placeholder(token: MathToken): string {
  return `<span class="homeport-math${token.display ? "-display" : ""}">${escapeHtml(token.tex)}</span>`;
}

const marked = new Marked({
  gfm: true,
  async: false,
  extensions: [blockMath, inlineMath],
  renderer: {
    heading({ tokens, depth }) {
      const inner = this.parser.parseInline(tokens);
      const id = this.parser.parseInline(tokens, this.parser.textRenderer).replace(/\s+/g, "-");
      return `<h${depth} id="${escapeHtml(id)}">${inner}</h${depth}>\n`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/** Which drawing of an element is the latest: an older one that finishes later is thrown away. */
const latest = new WeakMap<HTMLElement, symbol>();

/**
 * Draws Markdown into an element, replacing what it held.
 *
 * What was there stays until all of the new is ready, formulas included, so nothing flickers or jumps.
 */
export async function renderMarkdown(place: HTMLElement, source: string, context: OutputContext): Promise<void> {
  const drawing = Symbol();
  latest.set(place, drawing);
  const html = marked.parse(source) as string;
  const fragment = sanitize(html, { place: "embedded", resolve: (url, use) => resolveUrl(context, url, use) });
  const formulas = [...fragment.querySelectorAll<HTMLElement>(".homeport-math, .homeport-math-display")];
  const drawn = formulas.map((formula) =>
    renderFormula(formula, formula.textContent ?? "", formula.classList.contains("homeport-math-display")),
  );
  const painted = [...fragment.querySelectorAll<HTMLElement>("pre > code[class]")].map((code) =>
    highlightInto(code, /language-([\w+#-]+)/.exec(code.className)?.[1] ?? ""),
  );
  for (const table of fragment.querySelectorAll("table")) scrollable(table);
  await Promise.all([...drawn, ...painted]);
  if (latest.get(place) !== drawing) return;
  place.classList.add("markdown");
  place.replaceChildren(fragment);
}

/** A wide table scrolls by itself, not the page. */
function scrollable(table: HTMLTableElement): void {
  const box = document.createElement("div");
  box.className = "table-scroll";
  table.replaceWith(box);
  box.append(table);
}

function escapeHtml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
