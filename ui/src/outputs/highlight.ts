/** Colours for read-only Python code, by the parser that the editor uses as well; other languages stay plain. */
import { element } from "./dom";

const PYTHON = /^(?:i?python[23]?|py[23]?|pycon)$/i;

/** Replaces the text of `code` by coloured spans, if `language` is one that we know. */
export async function highlightInto(code: HTMLElement, language: string): Promise<void> {
  if (!PYTHON.test(language)) return;
  const [{ parser }, { classHighlighter, highlightCode }] = await Promise.all([
    import("@lezer/python"),
    import("@lezer/highlight"),
  ]);
  const text = code.textContent ?? "";
  const parts: Node[] = [];
  highlightCode(
    text,
    parser.parse(text),
    classHighlighter,
    (piece, classes) =>
      parts.push(classes ? element("span", { class: classes }, piece) : document.createTextNode(piece)),
    () => parts.push(document.createTextNode("\n")),
  );
  code.replaceChildren(...parts);
}
