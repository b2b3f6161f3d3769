/**
 * The state of a notebook page that belongs to this browser alone: which cell is active, what is selected, the mode, the
 * clipboard, where the focus goes. What can be done with it is in actions.ts.
 */
import { batch, computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import type * as EditorModule from "../../editor/editor";
import type { PageConfig } from "../../main/config";
import type { Notebook } from "../../model/notebook";
import { isObject } from "../../model/schema";
import type { DocumentSync } from "../../model/sync";
import { type Link, type LinkView, newId } from "../../net/link";
import { type Rest, rest, urlOf } from "../../net/rest";
import { toast } from "../common";
import { type CellView, CellViews } from "./cells";
import { Clipboard } from "./clipboard";
import { afterDrawing } from "./drawing";
import { Nearness } from "./nearness";
import { ServerState } from "./server_state";

export type Mode = "command" | "edit";

/** The configuration in the HTML of a page; a DOMParser would apply its styles, which our policy refuses. */
const CONFIG = /<script[^>]* id="homeport-config"[^>]*>([^<]*)<\/script>/;

const LINE_NUMBERS = "homeport.line-numbers";

export class Page {
  readonly config: PageConfig;
  readonly link: Link;
  readonly sync: DocumentSync;
  readonly rest: Rest;
  readonly server = new ServerState();
  readonly nearness = new Nearness();
  readonly linkView = signal<LinkView>({ status: "connecting", waiting: 0, reason: "", transport: "" });
  readonly path = signal("");
  readonly loaded = signal(false);
  /** What the server says of a notebook that it cannot open; null while it may still come. */
  readonly failure = signal<PageConfig | null>(null);
  readonly views = signal<CellViews>(null as unknown as CellViews);
  readonly editorModule = signal<typeof EditorModule | null>(null);
  readonly language = signal("python");
  /** The kernel that the notebook asks for, while none runs. */
  readonly kernelName = signal("");
  readonly active = signal("");
  /** The other end of the selection; the same as `active` when one cell is selected. */
  readonly anchor = signal("");
  readonly mode = signal<Mode>("command");
  readonly lineNumbers = signal(readFlag(LINE_NUMBERS));
  readonly clipboard: Clipboard;
  readonly helpShown = signal(false);
  readonly historyShown = signal(false);
  /** How often the search was asked for since it was closed; 0: it is closed. */
  readonly findShown = signal(0);
  /** Said to people who hear the page. */
  readonly announcement = signal("");
  /** Cells whose run the server has not confirmed yet. */
  readonly asked = signal<ReadonlyMap<string, number>>(new Map());
  readonly cells: ReadonlySignal<CellView[]> = computed(() => this.views.value.all.value);
  /** Keys of the selected cells, in the order of the notebook. */
  readonly selected: ReadonlySignal<ReadonlySet<string>> = computed(() =>
    this.range(this.active.value, this.anchor.value),
  );
  /** The cells that this page ran last, until somebody presses or types something. */
  private ranLast: ReadonlySet<string> = new Set();
  /** The cell in which something was found last. */
  private matched: CellView | null = null;
  /** Where the active cell was, for when somebody deletes it. */
  private lastIndex = 0;

  constructor(config: PageConfig, link: Link, sync: DocumentSync) {
    this.config = config;
    this.link = link;
    this.sync = sync;
    this.rest = rest(config.baseUrl);
    this.clipboard = new Clipboard(config.baseUrl);
    this.path.value = config.path;
    this.views.value = new CellViews(sync.notebook);
    sync.observe(() => this.documentChanged());
    link.observe((view) => {
      this.linkView.value = view;
      if (view.reason && view.status !== "online" && !this.loaded.peek()) void this.findOutWhy();
      if (view.transport === "HTTP" && link.tellBlocked()) {
        toast(
          "Something between this browser and the server blocks WebSockets. This page works over plain HTTP instead; nothing " +
            "is lost, and it changes back by itself when it can.",
          { action: { label: "OK", run: () => {} } },
        );
      }
    });
    link.observeState((state) => {
      this.server.merge(state);
      if (typeof state.path === "string") this.renamed(state.path);
    });
    effect(() => this.keepActive(this.cells.value));
    effect(() => writeFlag(LINE_NUMBERS, this.lineNumbers.value));
  }

  get notebook(): Notebook {
    return this.sync.notebook;
  }

  get readOnly(): boolean {
    return this.server.readonly.value;
  }

  get activeView(): CellView | undefined {
    return this.views.peek().get(this.active.peek());
  }

  get activeIndex(): number {
    return this.cells.peek().findIndex((view) => view.key === this.active.peek());
  }

  /** Ids of the selected cells, in the order of the notebook. */
  get selectedIds(): string[] {
    const selected = this.selected.peek();
    return this.cells.peek().flatMap((view) => (selected.has(view.key) ? [view.id] : []));
  }

  /**
   * Makes a cell the active one.
   * @param how.extend keeps the other end of the selection.
   * @param how.focus also moves the focus to the cell in command mode and brings it into view.
   */
  select(key: string, how: { extend?: boolean; focus?: boolean } = {}): void {
    batch(() => {
      this.active.value = key;
      if (!how.extend) this.anchor.value = key;
    });
    if (how.focus) this.focusCell(key);
  }

  selectIds(ids: string[]): void {
    const first = ids[0];
    const last = ids.at(-1);
    if (!first || !last) return;
    batch(() => {
      this.anchor.value = first;
      this.active.value = last;
    });
    this.focusCell(last);
  }

  /** Command mode: the focus is on the cell itself. */
  focusCell(key = this.active.peek()): void {
    this.mode.value = "command";
    afterDrawing(() => {
      const element = this.views.peek().get(key)?.element;
      if (!element) return;
      element.focus({ preventScroll: true });
      element.scrollIntoView({ block: "nearest" });
    });
  }

  /** Selects a cell and brings its beginning into view. */
  showCell(key: string): void {
    this.selectIds([key]);
    afterDrawing(() => this.views.peek().get(key)?.element?.scrollIntoView({ block: "center" }));
  }

  /** Edit mode: the focus is in the cell's editor. */
  editCell(key = this.active.peek(), edge?: "start" | "end"): void {
    const view = this.views.peek().get(key);
    if (!view) return;
    this.select(key);
    view.shown.value = true;
    if (view.cell.peek().type === "markdown") view.editing.value = true;
    afterDrawing(() => {
      const editor = view.editor ?? view.mountEditor?.();
      if (!editor) return;
      editor.focus(edge);
      view.element?.scrollIntoView({ block: "nearest" });
    });
  }

  /** Brings what a cell asks with `input()` into the window, with the focus on its field; the active cell stays active. */
  showQuestion(id: string): void {
    const view = this.cells.peek().find((each) => each.id === id);
    if (!view) return;
    view.shown.value = true;
    afterDrawing(() => {
      const form = view.element?.querySelector(".input-form");
      form?.querySelector("input")?.focus({ preventScroll: true });
      form?.scrollIntoView({ block: "nearest" });
    });
  }

  /** Whether this page ran the cell and nobody has pressed or typed anything here since. */
  untouchedSinceRun(id: string): boolean {
    return this.ranLast.has(id);
  }

  /** Somebody presses or types something on this page. */
  touched(): void {
    this.ranLast = new Set();
  }

  /** Brings the cell into the window without touching the focus. */
  reveal(key: string): void {
    this.views.peek().get(key)?.element?.scrollIntoView({ block: "nearest" });
  }

  /** Brings a piece of a cell's source into the window and selects it there; without one, the cell's outputs. */
  revealMatch(key: string, range: { from: number; to: number } | null): void {
    const view = this.views.peek().get(key);
    if (!view) return;
    this.leaveMatch();
    this.matched = view;
    view.shown.value = true;
    afterDrawing(() => {
      const editor = range ? (view.editor ?? view.mountEditor?.()) : null;
      const outputs = range ? null : view.element?.querySelector(".cell-outputs");
      if (editor && range) editor.select(range.from, range.to);
      // An editor of many lines draws those in view only: the line is found by its place.
      const place = (editor && range && editor.lineAt(range.from)) || outputs || view.element;
      place?.scrollIntoView({ block: "center" });
    });
  }

  /** The piece of source that was found last is not selected any more: cells that nobody is in show no selection. */
  leaveMatch(): void {
    this.matched?.editor?.deselect();
    this.matched = null;
  }

  /** Runs cells on the server. Markdown cells are rendered here; cells without code only lose their outputs, as in Jupyter. */
  run(views: CellView[]): void {
    const runs: [string, string][] = [];
    const empty: string[] = [];
    for (const view of views) {
      const cell = view.cell.peek();
      if (cell.type === "markdown") view.editing.value = false;
      if (cell.type !== "code") continue;
      if (cell.source.trim()) runs.push([newId(), cell.id]);
      else empty.push(cell.id);
    }
    if (empty.length > 0 && !this.readOnly) this.notebook.clearOutputs(empty);
    if (runs.length === 0) return;
    const ran = runs.map(([, cell]) => cell);
    this.ranLast = new Set(ran);
    this.ask("run", ran, { runs, stop_on_error: true });
  }

  /** Sends an operation and says so when the server refuses it. */
  request(op: string, fields: Record<string, unknown> = {}): Promise<boolean> {
    return this.link.request({ op, ...fields }).then(
      () => true,
      (error: Error) => {
        toast(error.message, { level: "error" });
        return false;
      },
    );
  }

  /** The notebook has another path, whoever gave it: the address of the page and of its link follow. */
  renamed(path: string): void {
    if (path === this.path.peek()) return;
    this.path.value = path;
    this.link.path = path;
    history.replaceState(null, "", urlOf(this.config.baseUrl, "notebooks", path) + location.hash);
  }

  announce(text: string): void {
    // The same words again are only said when they are another text.
    this.announcement.value = this.announcement.peek() === text ? `${text}\u00a0` : text;
  }

  /** The link goes on trying, so that a notebook that can be opened again opens by itself. */
  private async findOutWhy(): Promise<void> {
    if (this.failure.peek()) return;
    try {
      const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
      if (answer.ok) return;
      const config: unknown = JSON.parse(CONFIG.exec(await answer.text())?.[1] ?? "null");
      if (isObject(config) && config.page === "error") this.failure.value = config as unknown as PageConfig;
    } catch {
      // No answer, or one of something in between: the link says what it knows.
    }
  }

  private ask(op: string, cells: string[], fields: Record<string, unknown>): void {
    this.countAsked(cells, 1);
    void this.request(op, fields).then(() => this.countAsked(cells, -1));
  }

  private countAsked(cells: string[], by: number): void {
    const asked = new Map(this.asked.peek());
    for (const cell of cells) {
      const count = (asked.get(cell) ?? 0) + by;
      if (count > 0) asked.set(cell, count);
      else asked.delete(cell);
    }
    this.asked.value = asked;
  }

  private range(from: string, to: string): ReadonlySet<string> {
    const cells = this.cells.value;
    const a = cells.findIndex((view) => view.key === from);
    const b = cells.findIndex((view) => view.key === to);
    if (a < 0) return new Set();
    const [first, last] = b < 0 ? [a, a] : [Math.min(a, b), Math.max(a, b)];
    return new Set(cells.slice(first, last + 1).map((view) => view.key));
  }

  /** Whoever deletes the active cell: the one in its place becomes active, and the focus stays where it is. */
  private keepActive(cells: CellView[]): void {
    const index = cells.findIndex((view) => view.key === this.active.peek());
    if (index >= 0) {
      this.lastIndex = index;
      if (!cells.some((view) => view.key === this.anchor.peek())) this.anchor.value = this.active.peek();
      return;
    }
    const next = cells[Math.min(this.lastIndex, cells.length - 1)];
    if (next) this.select(next.key);
  }

  private documentChanged(): void {
    if (this.views.peek() && this.sync.loaded) {
      const first = !this.loaded.peek();
      batch(() => {
        this.views.peek().dispose();
        this.views.value = new CellViews(this.sync.notebook);
        this.loaded.value = true;
      });
      if (first) this.beginTyping();
    } else this.loaded.value = this.sync.loaded;
    this.readMetadata();
    this.notebook.observe((change) => {
      if (change.metadata) this.readMetadata();
    });
  }

  /** A notebook that has just been made is there to be typed into. On a phone that would bring up the keyboard. */
  private beginTyping(): void {
    const [only, ...others] = this.cells.peek();
    const cell = only?.cell.peek();
    if (!only || others.length || cell?.type !== "code" || cell.source || this.readOnly) return;
    if (matchMedia("(pointer: coarse)").matches) return;
    // The editor may still be on its way, and somebody may have done something else meanwhile.
    const stop = effect(() => {
      if (!this.editorModule.value) return;
      queueMicrotask(() => {
        stop();
        if (this.mode.peek() === "command" && this.cells.peek().length === 1) this.editCell(only.key);
      });
    });
  }

  private readMetadata(): void {
    this.language.value = this.notebook.language;
    const { kernelspec } = this.notebook.metadata;
    this.kernelName.value = isObject(kernelspec) ? String(kernelspec.display_name || kernelspec.name || "") : "";
  }
}

function readFlag(key: string): boolean {
  try {
    return localStorage.getItem(key) === "true";
  } catch {
    return false;
  }
}

function writeFlag(key: string, value: boolean): void {
  try {
    localStorage.setItem(key, String(value));
  } catch {
    // The choice then holds for this page only.
  }
}
