/**
 * The place of a cell's source: plain text until the editor chunk is there, painted code while the cell is far away, an editor
 * when it is near. Keeps cursor and focus when the shared text is replaced by another (a cell that somebody moved).
 */
import { effect, untracked } from "@preact/signals";
import type * as Y from "yjs";
import type { CellEditor } from "../../editor/editor";
import type { CellView } from "./cells";
import type { Page } from "./page";

let editable = false;

export class SourcePane {
  private readonly host: HTMLElement;
  private readonly page: Page;
  private readonly view: CellView;
  private readonly painted = document.createElement("pre");
  private editor: CellEditor | null = null;
  /** The text that the editor is bound to. */
  private bound: Y.Text | null = null;
  private callOff: () => void = () => {};
  private readonly dispose: () => void;

  constructor(host: HTMLElement, page: Page, view: CellView) {
    this.host = host;
    this.page = page;
    this.view = view;
    this.painted.className = "painted";
    host.append(this.painted);
    this.painted.addEventListener("mousedown", this.pressed);
    view.mountEditor = () => this.mount();
    const stops = [effect(() => this.follow()), effect(() => this.repaint()), effect(() => this.configure())];
    this.dispose = () => {
      for (const stop of stops) stop();
    };
  }

  destroy(): void {
    this.callOff();
    this.dispose();
    this.unmount();
    this.view.mountEditor = null;
    this.painted.remove();
  }

  private get languageName(): string {
    const { type } = this.view.cell.value;
    if (type === "code") return this.page.language.value;
    return type === "markdown" ? "markdown" : "";
  }

  /** An editor comes when the cell is near, goes when it is far, and is made anew for another shared text. */
  private follow(): void {
    const { text } = this.view.cell.value;
    const module = this.page.editorModule.value;
    const near = this.view.near.value;
    untracked(() => {
      this.callOff();
      if (this.editor && this.bound !== text) this.rebind();
      else if (near && module && !this.editor) this.callOff = this.page.nearness.mountSoon(() => this.mount());
      else if (!near && this.editor && !this.editor.view.hasFocus) this.unmount();
    });
  }

  private repaint(): void {
    this.view.revision.source.value;
    const source = this.view.cell.value.source;
    const language = this.languageName;
    const module = this.page.editorModule.value;
    if (this.editor) return;
    if (!module) {
      this.painted.textContent = `${source}\n`;
      return;
    }
    module.paint(this.painted, source, language);
    void module.loadLanguage(language).then((grammar) => {
      if (grammar && !this.editor && this.view.cell.peek().source === source)
        module.paint(this.painted, source, language);
    });
  }

  private configure(): void {
    const numbers = this.page.lineNumbers.value;
    const readOnly = this.page.readOnly;
    const language = this.languageName;
    this.painted.classList.toggle("numbered", numbers);
    const editor = this.editor;
    if (!editor) return;
    editor.setLineNumbers(numbers);
    editor.setReadOnly(readOnly);
    editor.setLanguage(language);
  }

  private mount(): CellEditor | null {
    this.callOff();
    if (this.editor) return this.editor;
    const module = this.page.editorModule.peek();
    const cell = this.view.cell.peek();
    const { text, undoManager } = cell;
    if (!module || !text || !undoManager) return null;
    this.painted.remove();
    this.bound = text;
    this.editor = new module.CellEditor(this.host, {
      text,
      undoManager,
      awareness: this.page.sync.awarenessState,
      language: untracked(() => this.languageName),
      label: cell.type === "code" ? "Code" : cell.type === "markdown" ? "Markdown source" : "Raw text",
      readOnly: untracked(() => this.page.readOnly),
      lineNumbers: this.page.lineNumbers.peek(),
      wrap: cell.type !== "code",
      nonce: typeof this.page.config.nonce === "string" ? this.page.config.nonce : undefined,
      onFocus: () => this.focused(),
      onBlur: () => {},
      onLeave: (direction) => this.leave(direction),
    });
    this.view.editor = this.editor;
    if (!editable && this.page.loaded.peek()) {
      editable = true;
      performance.mark("homeport:editable");
      document.documentElement.dataset.editable = "true";
    }
    return this.editor;
  }

  private unmount(): void {
    if (!this.editor) return;
    this.editor.destroy();
    this.editor = null;
    this.view.editor = null;
    this.bound = null;
    this.host.append(this.painted);
    untracked(() => this.repaint());
  }

  private rebind(): void {
    const focused = this.editor?.view.hasFocus ?? false;
    const selection = this.editor?.selection;
    this.unmount();
    const editor = this.mount();
    if (!editor || !selection) return;
    editor.select(selection.anchor, selection.head);
    if (focused) editor.focus();
  }

  private focused(): void {
    this.page.select(this.view.key);
    this.page.mode.value = "edit";
  }

  private leave(direction: "up" | "down"): boolean {
    const cells = this.page.cells.peek();
    const index = cells.indexOf(this.view);
    const next = cells[index + (direction === "up" ? -1 : 1)];
    if (!next) return false;
    // A rendered Markdown cell is passed over as a whole; everything else is entered at its near end.
    if (next.cell.peek().type === "markdown" && !next.editing.peek()) this.page.select(next.key, { focus: true });
    else this.page.editCell(next.key, direction === "up" ? "end" : "start");
    return true;
  }

  /** A click into painted code lands where it was meant, with the editor that takes its place. */
  private readonly pressed = (event: MouseEvent): void => {
    if (event.button !== 0 || event.shiftKey) return;
    const editor = this.mount();
    if (!editor) return;
    event.preventDefault();
    editor.selectAt({ x: event.clientX, y: event.clientY });
    editor.focus();
  };
}
