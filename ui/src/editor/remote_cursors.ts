/**
 * Shows where others are in a cell, and tells others where we are, through the awareness field `cursors` that JupyterLab uses:
 * a list of `{anchor, head, primary, empty}` with Yjs relative positions.
 */
import { Annotation, type Extension, type Range, RangeSet } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  type EditorView,
  ViewPlugin,
  type ViewUpdate,
  WidgetType,
} from "@codemirror/view";
import type { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";

interface Cursor {
  anchor: unknown;
  head: unknown;
}

interface Person {
  name: string;
  color: string;
}

/** Marks the transaction that only redraws cursors. */
const redraw = Annotation.define<true>();

class CaretWidget extends WidgetType {
  readonly person: Person;
  /** Where it stands: a caret that moves is drawn anew, and so shows its name again. */
  private readonly at: number;
  constructor(person: Person, at: number) {
    super();
    this.person = person;
    this.at = at;
  }

  override eq(other: CaretWidget): boolean {
    const { name, color } = this.person;
    return other.at === this.at && other.person.name === name && other.person.color === color;
  }

  toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = "remote-caret";
    caret.style.setProperty("--person", this.person.color);
    const label = document.createElement("span");
    label.className = "remote-caret-name";
    label.textContent = this.person.name;
    caret.append("\u2060", label, "\u2060");
    return caret;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}

class RemoteCursors {
  decorations: DecorationSet = RangeSet.empty;
  private readonly view: EditorView;
  private readonly text: Y.Text;
  private readonly awareness: Awareness;

  constructor(view: EditorView, text: Y.Text, awareness: Awareness) {
    this.view = view;
    this.text = text;
    this.awareness = awareness;
    this.decorations = this.draw();
    awareness.on("change", this.changed);
  }

  destroy(): void {
    this.awareness.off("change", this.changed);
  }

  update(update: ViewUpdate): void {
    if (update.focusChanged || ((update.selectionSet || update.docChanged) && update.view.hasFocus)) {
      // The awareness may answer by redrawing another editor: not within this update.
      queueMicrotask(() => this.announce());
    }
    if (update.transactions.some((transaction) => transaction.annotation(redraw))) this.decorations = this.draw();
    else if (update.docChanged) this.decorations = this.decorations.map(update.changes);
  }

  private readonly changed = (changes: { added: number[]; updated: number[]; removed: number[] }): void => {
    const own = this.awareness.clientID;
    const others = [...changes.added, ...changes.updated, ...changes.removed].some((client) => client !== own);
    if (others) queueMicrotask(() => this.view.dom.isConnected && this.view.dispatch({ annotations: redraw.of(true) }));
  };

  private announce(): void {
    if (!this.view.hasFocus) return;
    const cursors = this.view.state.selection.ranges.map((range) => ({
      anchor: Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(this.text, range.anchor)),
      head: Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(this.text, range.head)),
      primary: range === this.view.state.selection.main,
      empty: range.empty,
    }));
    this.awareness.setLocalStateField("cursors", cursors);
  }

  private draw(): DecorationSet {
    const marks: Range<Decoration>[] = [];
    for (const [client, state] of this.awareness.getStates()) {
      if (client === this.awareness.clientID || !Array.isArray(state.cursors)) continue;
      for (const cursor of state.cursors as Cursor[]) this.drawCursor(cursor, personOf(state.user), marks);
    }
    return Decoration.set(marks, true);
  }

  private drawCursor(cursor: Cursor, person: Person, marks: Range<Decoration>[]): void {
    const anchor = this.position(cursor?.anchor);
    const head = this.position(cursor?.head);
    if (anchor === null || head === null) return;
    const [from, to] = anchor < head ? [anchor, head] : [head, anchor];
    if (from < to) {
      const mark = Decoration.mark({ class: "remote-selection", attributes: { style: `--person: ${person.color}` } });
      marks.push(mark.range(from, to));
    }
    marks.push(Decoration.widget({ widget: new CaretWidget(person, head), side: head > anchor ? -1 : 1 }).range(head));
  }

  private position(json: unknown): number | null {
    const doc = this.text.doc;
    if (!json || !doc) return null;
    const relative = Y.createRelativePositionFromJSON(json);
    const position = Y.createAbsolutePositionFromRelativePosition(relative, doc);
    return position?.type === this.text ? Math.min(position.index, this.view.state.doc.length) : null;
  }
}

function personOf(user: unknown): Person {
  const { display_name: display, name, color } = (user ?? {}) as Record<string, unknown>;
  const safe =
    typeof color === "string" && /^(#[0-9a-f]{3,8}|var\(--[\w-]+\)|[a-z]+)$/i.test(color) ? color : "#0b7896";
  return { name: String(display ?? name ?? "Someone"), color: safe };
}

export function remoteCursors(text: Y.Text, awareness: Awareness): Extension {
  return ViewPlugin.define((view) => new RemoteCursors(view, text, awareness), {
    decorations: (plugin) => plugin.decorations,
  });
}
