/**
 * The editor of one cell: CodeMirror bound to the cell's shared text. Runs, cell operations and modes are the page's business;
 * the editor only says when the cursor wants to leave.
 */
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, indentLess, indentMore } from "@codemirror/commands";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorSelection, EditorState, type Extension } from "@codemirror/state";
import {
  type Command,
  crosshairCursor,
  drawSelection,
  EditorView,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  placeholder,
  rectangularSelection,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next";
import type { Awareness } from "y-protocols/awareness";
import type * as Y from "yjs";
import { knownLanguage, loadLanguage } from "./languages";
import { remoteCursors } from "./remote_cursors";

export { loadLanguage } from "./languages";
export { paint } from "./paint";

export interface EditorOptions {
  text: Y.Text;
  undoManager: Y.UndoManager;
  awareness: Awareness;
  /** As {@link loadLanguage} takes it. */
  language: string;
  /** The accessible name. */
  label: string;
  readOnly: boolean;
  lineNumbers: boolean;
  /** Prose wraps, code does not. */
  wrap: boolean;
  placeholder?: string;
  /** Lets CodeMirror add its style sheet under a content security policy. */
  nonce?: string | undefined;
  onFocus(): void;
  onBlur(): void;
  /** The cursor leaves over the first or last line. @returns whether somebody took it. */
  onLeave(direction: "up" | "down"): boolean;
}

const INDENT = "    ";

/** With a selection indents its lines, otherwise fills up to the next multiple of four columns. */
const tab: Command = (view) => {
  const { state } = view;
  if (state.readOnly) return false;
  if (state.selection.ranges.some((range) => !range.empty)) return indentMore(view);
  const change = state.changeByRange((range) => {
    const column = range.from - state.doc.lineAt(range.from).from;
    const insert = " ".repeat(INDENT.length - (column % INDENT.length));
    return { changes: { from: range.from, insert }, range: EditorSelection.cursor(range.from + insert.length) };
  });
  view.dispatch(state.update(change, { scrollIntoView: true, userEvent: "input" }));
  return true;
};

const theme = EditorView.theme({
  "&": { color: "inherit", backgroundColor: "transparent", fontSize: "var(--text-code)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--font-mono)", lineHeight: "var(--line-code)", overflowX: "auto" },
  ".cm-content": { padding: "var(--code-pad-block) 0", caretColor: "var(--text)" },
  ".cm-line": { padding: "0 var(--code-pad-inline)" },
  ".cm-cursor": { borderLeftColor: "var(--text)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "transparent", border: "none", color: "var(--text-faint)" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 0 0 var(--space-2)", minWidth: "2.5ch" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "var(--selection)",
  },
  "&.cm-focused .cm-matchingBracket": {
    backgroundColor: "var(--selection)",
    outline: "1px solid var(--border-strong)",
  },
  "&.cm-focused .cm-nonmatchingBracket": {
    backgroundColor: "transparent",
    color: "var(--danger)",
  },
  ".cm-placeholder": { color: "var(--text-faint)" },
});

export class CellEditor {
  readonly view: EditorView;
  private readonly language = new Compartment();
  private readonly numbers = new Compartment();
  private readonly writable = new Compartment();
  private readonly name = new Compartment();
  private languageName: string;

  constructor(parent: HTMLElement, options: EditorOptions) {
    this.languageName = options.language;
    const state = EditorState.create({
      doc: options.text.toString(),
      extensions: [this.dynamic(options), fixed(options)],
    });
    this.view = new EditorView({ state, parent });
    this.setLanguage(options.language);
  }

  /** @param edge where to put the cursor; undefined: where it was. */
  focus(edge?: "start" | "end"): void {
    if (edge) this.select(edge === "start" ? 0 : this.view.state.doc.length);
    this.view.focus();
  }

  /** Offsets in UTF-16 units. */
  select(anchor: number, head = anchor): void {
    const most = this.view.state.doc.length;
    this.view.dispatch({ selection: { anchor: Math.min(anchor, most), head: Math.min(head, most) } });
  }

  /** Selects nothing; the cursor stays at the end of what was selected. */
  deselect(): void {
    this.select(this.view.state.selection.main.to);
  }

  /** The element of the line at an offset; null while that line is not drawn. */
  lineAt(offset: number): Element | null {
    const { node } = this.view.domAtPos(Math.min(offset, this.view.state.doc.length));
    return (node instanceof Element ? node : node.parentElement)?.closest(".cm-line") ?? null;
  }

  get selection(): { anchor: number; head: number } {
    const { anchor, head } = this.view.state.selection.main;
    return { anchor, head };
  }

  /** Where a split cuts: the cursor, or both ends of a selection. */
  get cuts(): number[] {
    const { from, to } = this.view.state.selection.main;
    return from === to ? [from] : [from, to];
  }

  /** Puts the cursor where the pointer is. */
  selectAt(point: { x: number; y: number }): void {
    this.select(this.view.posAtCoords(point, false));
  }

  setLanguage(name: string): void {
    this.languageName = name;
    const now = knownLanguage(name);
    if (now !== undefined) {
      this.view.dispatch({ effects: this.language.reconfigure(now ?? []) });
      return;
    }
    void loadLanguage(name).then((language) => {
      if (this.languageName === name) this.view.dispatch({ effects: this.language.reconfigure(language ?? []) });
    });
  }

  setLineNumbers(shown: boolean): void {
    this.view.dispatch({ effects: this.numbers.reconfigure(shown ? lineNumbers() : []) });
  }

  setReadOnly(readOnly: boolean): void {
    this.view.dispatch({ effects: this.writable.reconfigure(EditorState.readOnly.of(readOnly)) });
  }

  setLabel(label: string): void {
    this.view.dispatch({ effects: this.name.reconfigure(nameAttributes(label)) });
  }

  destroy(): void {
    this.view.destroy();
  }

  private dynamic(options: EditorOptions): Extension {
    return [
      this.language.of(knownLanguage(options.language) ?? []),
      this.numbers.of(options.lineNumbers ? lineNumbers() : []),
      this.writable.of(EditorState.readOnly.of(options.readOnly)),
      this.name.of(nameAttributes(options.label)),
    ];
  }
}

function fixed(options: EditorOptions): Extension {
  return [
    // Positions are those of the shared text: a "\r\n" in it is two characters there, so it must be two here.
    EditorState.lineSeparator.of("\n"),
    EditorState.allowMultipleSelections.of(true),
    EditorState.tabSize.of(INDENT.length),
    indentUnit.of(INDENT),
    options.nonce ? EditorView.cspNonce.of(options.nonce) : [],
    options.wrap ? EditorView.lineWrapping : [],
    options.placeholder ? placeholder(options.placeholder) : [],
    theme,
    syntaxHighlighting(classHighlighter),
    highlightSpecialChars(),
    drawSelection(),
    rectangularSelection(),
    crosshairCursor(),
    bracketMatching(),
    closeBrackets(),
    indentOnInput(),
    leaving(options.onLeave),
    keymap.of([
      { key: "Tab", run: tab, shift: indentLess },
      ...closeBracketsKeymap,
      ...yUndoManagerKeymap,
      ...defaultKeymap,
    ]),
    EditorView.domEventHandlers({
      focus: () => options.onFocus(),
      blur: () => options.onBlur(),
      beforeinput: lineBreakAsText,
    }),
    yCollab(options.text, null, { undoManager: options.undoManager }),
    remoteCursors(options.text, options.awareness),
  ];
}

/** Dictation and other input methods insert line breaks as text; Chromium puts two into the page for one at the end of a line. */
function lineBreakAsText(event: InputEvent, view: EditorView): boolean {
  if (event.inputType !== "insertText" || !event.data?.includes("\n") || view.state.readOnly) return false;
  event.preventDefault();
  view.dispatch(view.state.replaceSelection(event.data), { scrollIntoView: true, userEvent: "input" });
  return true;
}

/** Arrow keys over the first and last visible line go to the next cell. */
function leaving(onLeave: EditorOptions["onLeave"]): Extension {
  const at = (direction: "up" | "down"): Command => {
    return (view) => {
      const { main, ranges } = view.state.selection;
      if (!main.empty || ranges.length > 1) return false;
      return sameLine(view, main.head, direction === "up" ? 0 : view.state.doc.length) && onLeave(direction);
    };
  };
  return keymap.of([
    { key: "ArrowUp", run: at("up") },
    { key: "ArrowDown", run: at("down") },
  ]);
}

/** Whether two positions are on one visible line (a long line may be wrapped into several). */
function sameLine(view: EditorView, a: number, b: number): boolean {
  const first = view.coordsAtPos(a);
  const second = view.coordsAtPos(b);
  return !first || !second || Math.abs(first.top - second.top) < 2;
}

/** The `tabindex` says nothing new to browsers, but tells tools that the scrolling box around the text can be reached. */
function nameAttributes(label: string): Extension {
  return EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" });
}
