/**
 * An open notebook: the shared document in the schema of `jupyter_ydoc`, and every operation of a user on its cells.
 *
 * Each operation is one transaction with the origin {@link Notebook.origin}, and one step of {@link Notebook.undo}. Typing is
 * undone per cell. Outputs come from the server and are never undone; clearing them is not either.
 */
import * as Y from "yjs";
import { newId } from "../net/link";
import { type Aspect, Cell, sharedCell } from "./cell";
import { CELL_ID, type CellJson, type CellType, isObject, type JsonObject, plain } from "./schema";

export interface Change {
  /** Cells were added, removed or moved. */
  structure: boolean;
  /** The notebook's metadata changed. */
  metadata: boolean;
  cells: Map<Cell, Set<Aspect>>;
}

const ASPECTS: Record<string, Aspect> = {
  cell_type: "type",
  id: "type",
  source: "source",
  outputs: "outputs",
  metadata: "metadata",
  attachments: "metadata",
  execution_count: "execution",
  execution_state: "execution",
};

export class Notebook {
  /** Origin of this page's structural changes; tracked for undo. */
  readonly origin = { page: "structure" };
  /** Origin of this page's changes that are not undone. */
  readonly plainOrigin = { page: "plain" };
  readonly doc: Y.Doc;
  private readonly shared: Y.Array<Y.Map<unknown>>;
  private readonly meta: Y.Map<unknown>;
  private readonly undoManager: Y.UndoManager;
  private readonly wrappers = new WeakMap<Y.Map<unknown>, Cell>();
  private readonly listeners = new Set<(change: Change) => void>();

  constructor(doc: Y.Doc = new Y.Doc()) {
    this.doc = doc;
    this.shared = doc.getArray<Y.Map<unknown>>("cells");
    this.meta = doc.getMap("meta");
    doc.getMap("state");
    this.undoManager = new Y.UndoManager(this.shared, { trackedOrigins: new Set([this.origin]), captureTimeout: 0 });
    this.shared.observeDeep((events) => this.changed(events));
    this.meta.observeDeep(() => this.tell({ structure: false, metadata: true, cells: new Map() }));
  }

  get cells(): Cell[] {
    return this.shared.toArray().map((shared) => this.wrap(shared));
  }

  get length(): number {
    return this.shared.length;
  }

  get metadata(): JsonObject {
    const metadata = plain(this.meta.get("metadata"));
    return isObject(metadata) ? metadata : {};
  }

  /** The language of code cells: what the kernel said last, else what its kernelspec says, else Python. */
  get language(): string {
    const { language_info: info, kernelspec: spec } = this.metadata;
    if (isObject(info) && typeof info.name === "string" && info.name) return info.name;
    if (isObject(spec) && typeof spec.language === "string" && spec.language) return spec.language;
    return "python";
  }

  observe(listener: (change: Change) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  find(id: string): Cell | undefined {
    return this.cells.find((cell) => cell.id === id);
  }

  indexOf(id: string): number {
    return this.cells.findIndex((cell) => cell.id === id);
  }

  /** @returns the ids of the new cells, which are new unless `keepIds` and free. */
  insert(index: number, cells: CellJson[], keepIds = false): string[] {
    const taken = new Set(this.cells.map((cell) => cell.id));
    const made = cells.map((json) => ({ ...json, id: keepIds ? freeId(json.id, taken) : freeId(undefined, taken) }));
    this.change(() => this.shared.insert(clamp(index, this.length), made.map(sharedCell)));
    return made.map((json) => json.id);
  }

  /** A notebook is never left without a cell: an empty one takes the place of all, and one undo brings all back. */
  remove(ids: string[]): void {
    this.change(() => {
      for (const index of this.indices(ids).reverse()) this.shared.delete(index);
      if (this.shared.length === 0)
        this.shared.insert(0, [sharedCell({ id: newId(), cell_type: "code", source: "", metadata: {} })]);
    });
  }

  /** Moves cells, together and in order, so that they stand `by` places further down (negative: up). */
  move(ids: string[], by: number): void {
    const indices = this.indices(ids);
    const first = indices[0];
    if (first === undefined) return;
    const target = clamp(first + by, this.length - indices.length);
    if (target === first && indices.every((index, i) => index === first + i)) return;
    const jsons = indices.map((index) => this.wrap(this.shared.get(index)).toJson());
    this.change(() => {
      for (const index of [...indices].reverse()) this.shared.delete(index);
      this.shared.insert(
        target,
        jsons.map((json) => sharedCell({ ...json, id: json.id ?? newId() })),
      );
    });
  }

  /**
   * Splits at offsets (UTF-16 units, ascending). The last part keeps id, outputs and count, and empty lines at the cuts go, as
   * in Jupyter. A cursor at the end leaves the cell as it is, with an empty one below; one at the beginning an empty one above.
   */
  split(id: string, offsets: number[]): string[] {
    const index = this.indexOf(id);
    const cell = this.cells[index];
    const text = cell?.text;
    if (!cell || !text) return [];
    const source = cell.source;
    if (source && offsets.length === 1 && offsets[0] === source.length)
      return [id, ...this.insert(index + 1, [emptyLike(cell)])];
    const cuts = [0, ...offsets.filter((offset) => offset > 0 && offset < source.length)];
    const parts = cuts.map((cut, i) => source.slice(cut, cuts[i + 1]).replace(i > 0 ? /^\n+/ : "", ""));
    if (parts.length === 1) parts.unshift("");
    const kept = parts.at(-1) ?? "";
    const above = parts
      .slice(0, -1)
      .map((part) => ({ ...emptyLike(cell), source: part.replace(/\n+$/, ""), id: newId() }));
    this.change(() => {
      text.delete(0, source.length - kept.length);
      this.shared.insert(index, above.map(sharedCell));
    });
    return [...above.map((json) => json.id), id];
  }

  /** Joins cells into the first, with an empty line between; type and id are the first one's, outputs go. */
  merge(ids: string[]): string | null {
    const indices = this.indices(ids);
    const cells = indices.map((index) => this.wrap(this.shared.get(index)));
    const first = cells[0];
    const text = first?.text;
    if (!first || !text || cells.length < 2) return null;
    const rest = cells.slice(1).map((cell) => cell.source);
    this.change(() => {
      text.insert(text.length, rest.map((source) => `\n\n${source}`).join(""));
      for (const index of indices.slice(1).reverse()) this.shared.delete(index);
    });
    // Not undone with the rest: a page may not put outputs into a cell that is there.
    this.clearOutputs([first.id]);
    return first.id;
  }

  /** A changed type makes a new shared cell (Markdown has no outputs), with the same id and text. */
  changeType(ids: string[], type: CellType): void {
    this.change(() => {
      for (const index of this.indices(ids)) {
        const json = this.wrap(this.shared.get(index)).toJson();
        if (json.cell_type === type) continue;
        const { outputs: _outputs, execution_count: _count, ...rest } = json;
        this.shared.delete(index);
        this.shared.insert(index, [sharedCell({ ...rest, cell_type: type, id: json.id ?? newId() })]);
      }
    });
  }

  /** Sets the text of a cell by its difference, so that cursors and other people's edits stay. */
  setSource(id: string, source: string): void {
    const text = this.find(id)?.text;
    if (text) this.change(() => replaceText(text, source));
  }

  clearOutputs(ids: string[]): void {
    this.doc.transact(() => {
      for (const index of this.indices(ids)) {
        const shared = this.shared.get(index);
        const outputs = shared.get("outputs");
        if (outputs instanceof Y.Array && outputs.length > 0) outputs.delete(0, outputs.length);
        if (shared.get("cell_type") === "code" && plain(shared.get("execution_count")) !== null) {
          shared.set("execution_count", null);
        }
      }
    }, this.plainOrigin);
  }

  /** Folds a part of cells away as JupyterLab stores it: `metadata.jupyter.outputs_hidden`, `source_hidden`. */
  setHidden(ids: string[], part: "outputs" | "source", hidden: boolean): void {
    this.doc.transact(() => {
      for (const index of this.indices(ids)) {
        const metadata = this.metadataOf(index);
        const old = plain(metadata.get("jupyter"));
        const { [`${part}_hidden`]: _, ...jupyter } = isObject(old) ? old : {};
        if (hidden) jupyter[`${part}_hidden`] = true;
        if (Object.keys(jupyter).length > 0) metadata.set("jupyter", jupyter);
        else metadata.delete("jupyter");
        if (part === "outputs" && metadata.has("collapsed")) metadata.set("collapsed", hidden);
      }
    }, this.plainOrigin);
  }

  /**
   * Ends a conflict: `copy` is the cell that carries `homeport.conflict` (the other side's version of the cell named there).
   * Keeping mine removes the copy; keeping theirs gives the original its text, and its outputs when they differ.
   */
  settleConflict(copy: string, keep: "mine" | "theirs"): void {
    const cell = this.find(copy);
    if (!cell) return;
    const original = this.find(conflictOf(cell) ?? "");
    const { homeport: _mark, ...metadata } = cell.metadata;
    const theirs = { ...cell.toJson(), metadata };
    this.change(() => {
      if (keep === "theirs" && !original) {
        this.metadataOf(this.indexOf(copy)).delete("homeport");
        return;
      }
      this.shared.delete(this.indexOf(copy));
      if (keep === "mine" || !original) return;
      if (original.text && sameButText(original.toJson(), theirs)) replaceText(original.text, theirs.source);
      else {
        // A page may not put outputs into a cell that is there: the cell is made anew, under its id.
        const index = this.indexOf(original.id);
        const id = original.id;
        this.shared.delete(index);
        this.shared.insert(index, [sharedCell({ ...theirs, id })]);
      }
    });
  }

  undo(): boolean {
    return this.undoManager.undo() !== null;
  }

  redo(): boolean {
    return this.undoManager.redo() !== null;
  }

  private metadataOf(index: number): Y.Map<unknown> {
    const shared = this.shared.get(index);
    const metadata = shared.get("metadata");
    if (metadata instanceof Y.Map) return metadata as Y.Map<unknown>;
    const made = new Y.Map<unknown>();
    shared.set("metadata", made);
    return made;
  }

  /** Ascending positions of the cells that are there. */
  private indices(ids: string[]): number[] {
    const wanted = new Set(ids);
    return this.cells.flatMap((cell, index) => (wanted.has(cell.id) ? [index] : []));
  }

  private change(action: () => void): void {
    this.doc.transact(action, this.origin);
  }

  private wrap(shared: Y.Map<unknown>): Cell {
    let cell = this.wrappers.get(shared);
    if (!cell) {
      cell = new Cell(shared);
      this.wrappers.set(shared, cell);
    }
    return cell;
  }

  private changed(events: Y.YEvent<Y.AbstractType<unknown>>[]): void {
    const change: Change = { structure: false, metadata: false, cells: new Map() };
    for (const event of events) {
      if (event.target === (this.shared as unknown)) change.structure = true;
      else this.sort(event, change.cells);
    }
    this.tell(change);
  }

  /** Finds the cell and the aspect of an event below the list of cells, without Yjs' `path`, which counts positions. */
  private sort(event: Y.YEvent<Y.AbstractType<unknown>>, cells: Map<Cell, Set<Aspect>>): void {
    const chain: Y.AbstractType<unknown>[] = [];
    let type: Y.AbstractType<unknown> | null = event.target;
    while (type && type !== (this.shared as unknown)) {
      chain.unshift(type);
      type = type.parent as Y.AbstractType<unknown> | null;
    }
    const [shared, part, output] = chain;
    if (!(shared instanceof Y.Map)) return;
    const cell = this.wrap(shared as Y.Map<unknown>);
    if (output) cell.outputChanged(output);
    const keys = part ? [part._item?.parentSub ?? ""] : [...event.changes.keys.keys()];
    const aspects = cells.get(cell) ?? new Set<Aspect>();
    for (const key of keys) aspects.add(ASPECTS[key] ?? "metadata");
    cells.set(cell, aspects);
  }

  private tell(change: Change): void {
    for (const listener of this.listeners) listener(change);
  }
}

function sameButText(one: CellJson, other: CellJson): boolean {
  const rest = ({ cell_type, outputs, execution_count }: CellJson) =>
    JSON.stringify([cell_type, outputs, execution_count]);
  return rest(one) === rest(other);
}

/** The id of the cell whose conflict copy this is; null for ordinary cells, "" when the original is unknown. */
export function conflictOf(cell: Cell): string | null {
  const { homeport } = cell.metadata;
  if (!isObject(homeport) || homeport.conflict === undefined || homeport.conflict === null) return null;
  const conflict = homeport.conflict;
  if (typeof conflict === "string") return conflict;
  return isObject(conflict) && typeof conflict.cell === "string" ? conflict.cell : "";
}

function emptyLike(cell: Cell): CellJson {
  return { cell_type: cell.type, source: "", metadata: {} };
}

/** Keeps a valid id that nobody has; otherwise makes one. */
function freeId(wanted: string | undefined, taken: Set<string>): string {
  const id = wanted && CELL_ID.test(wanted) && !taken.has(wanted) ? wanted : newId();
  taken.add(id);
  return id;
}

function clamp(index: number, most: number): number {
  return Math.max(0, Math.min(index, most));
}

function replaceText(text: Y.Text, wanted: string): void {
  const old = text.toString();
  let start = 0;
  while (start < old.length && start < wanted.length && old[start] === wanted[start]) start += 1;
  let end = 0;
  const most = Math.min(old.length, wanted.length) - start;
  while (end < most && old[old.length - 1 - end] === wanted[wanted.length - 1 - end]) end += 1;
  if (old.length - start - end > 0) text.delete(start, old.length - start - end);
  if (wanted.length - start - end > 0) text.insert(start, wanted.slice(start, wanted.length - end));
}
