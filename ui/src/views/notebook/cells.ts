/**
 * Signals over the cells of a notebook, one set per cell, so that a change of one cell draws one cell again.
 *
 * Changes of contents are told once per frame at most: a flood of outputs costs one drawing per frame, and none while the page
 * is hidden. Changes of the list are told at once, because operations go on with the new cells.
 */
import { batch, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { CellEditor } from "../../editor/editor";
import type { Aspect, Cell } from "../../model/cell";
import type { Change, Notebook } from "../../model/notebook";

export class CellView {
  /** Stays while the cell moves; unique in the page also where an id is doubled. */
  readonly key: string;
  readonly cell: Signal<Cell>;
  /** Each grows by one when that aspect of the cell changes. */
  readonly revision: Record<Aspect, Signal<number>> = {
    type: signal(0),
    source: signal(0),
    outputs: signal(0),
    metadata: signal(0),
    execution: signal(0),
  };
  /** In or close to the window: has an editor. */
  readonly near = signal(false);
  /** Has its contents in the page, near or not. */
  readonly shown = signal(false);
  /** A Markdown cell that shows its source. */
  readonly editing = signal(false);
  /** Its height when it was last shown, in px; 0 before that. */
  height = 0;
  element: HTMLElement | null = null;
  editor: CellEditor | null = null;
  /** Puts an editor there now, whatever is scheduled. */
  mountEditor: (() => CellEditor | null) | null = null;

  constructor(key: string, cell: Cell) {
    this.key = key;
    this.cell = signal(cell);
  }

  get id(): string {
    return this.cell.peek().id;
  }

  /** Heading for a place before the cell has been measured, in px. */
  estimate(): number {
    const cell = this.cell.peek();
    const lines = Math.min(400, cell.source.split("\n").length);
    const outputs = cell.type === "code" ? cell.outputCount : 0;
    return 44 + lines * 21 + Math.min(3, outputs) * 140;
  }
}

export class CellViews {
  private readonly views = new Map<string, CellView>();
  private readonly byCell = new Map<Cell, CellView>();
  private readonly list = signal<CellView[]>([]);
  private readonly dirty = new Map<CellView, Set<Aspect>>();
  private frame = 0;
  private readonly unsubscribe: () => void;
  private readonly notebook: Notebook;

  constructor(notebook: Notebook) {
    this.notebook = notebook;
    this.unsubscribe = notebook.observe((change) => this.changed(change));
    this.rebuild();
  }

  /** In the order of the notebook. */
  get all(): ReadonlySignal<CellView[]> {
    return this.list;
  }

  get(key: string): CellView | undefined {
    return this.views.get(key);
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    this.unsubscribe();
  }

  private changed(change: Change): void {
    if (change.structure) this.rebuild();
    for (const [cell, aspects] of change.cells) {
      const view = this.byCell.get(cell);
      if (!view) continue;
      const waiting = this.dirty.get(view) ?? new Set();
      for (const aspect of aspects) waiting.add(aspect);
      this.dirty.set(view, waiting);
    }
    if (this.dirty.size > 0 && this.frame === 0) this.frame = requestAnimationFrame(() => this.flush());
  }

  private flush(): void {
    this.frame = 0;
    const dirty = [...this.dirty];
    this.dirty.clear();
    batch(() => {
      for (const [view, aspects] of dirty) {
        for (const aspect of aspects) view.revision[aspect].value += 1;
      }
    });
  }

  private rebuild(): void {
    const seen = new Set<string>();
    const list: CellView[] = [];
    this.byCell.clear();
    batch(() => {
      for (const cell of this.notebook.cells) {
        const view = this.viewOf(cell, uniqueKey(cell.id, seen));
        view.cell.value = cell;
        this.byCell.set(cell, view);
        list.push(view);
      }
      this.list.value = list;
    });
    for (const key of this.views.keys()) if (!seen.has(key)) this.views.delete(key);
  }

  private viewOf(cell: Cell, key: string): CellView {
    let view = this.views.get(key);
    if (!view) {
      view = new CellView(key, cell);
      this.views.set(key, view);
    }
    return view;
  }
}

function uniqueKey(id: string, seen: Set<string>): string {
  let key = id;
  for (let copy = 2; seen.has(key); copy++) key = `${id}~${copy}`;
  seen.add(key);
  return key;
}
