/**
 * The cells that this page changed and the server has not acknowledged: their text before, and now.
 *
 * Yjs merges what several people type into one cell, but the schema has no moves: a moved cell is taken out and a copy put in,
 * and what was typed into the old one meanwhile would vanish, as it would with a deleted one. So a page tells the server
 * of its unsettled cells before it syncs after a cut, and when such a cell is taken from it; the server merges
 * (`documents/away.py`).
 */
import * as Y from "yjs";
import type { Cell } from "./cell";
import type { Notebook } from "./notebook";
import type { CellType } from "./schema";

/** One cell of the `away` op. */
export interface AwayCell {
  id: string;
  /** Its text before this page's changes. */
  base: string;
  /** Its text on this page; null: this page deleted it. */
  text: string | null;
  type: CellType;
  /** The cell above it; empty for the first. */
  after: string;
}

interface Unsettled {
  base: string;
  /** What it reads, by this page alone or by all; kept because a deleted text cannot be read. */
  text: string;
  type: CellType;
  after: string;
  /** The server has been told. */
  told: boolean;
}

interface Known {
  shared: Y.Text | null;
  source: string;
}

export class UnsettledCells {
  private readonly notebook: Notebook;
  private readonly isRemote: (origin: unknown) => boolean;
  private readonly taken: (cells: AwayCell[]) => void;
  /** Every cell with the text that the server knows it to have. */
  private readonly known = new Map<string, Known>();
  private readonly cells = new Map<string, Unsettled>();
  /** Cells that this page made. */
  private readonly fresh = new Set<string>();

  /**
   * @param isRemote whether a transaction of this origin came from the server.
   * @param taken told of unsettled cells that others moved or deleted just now.
   */
  constructor(notebook: Notebook, isRemote: (origin: unknown) => boolean, taken: (cells: AwayCell[]) => void) {
    this.notebook = notebook;
    this.isRemote = isRemote;
    this.taken = taken;
    notebook.doc.on("afterTransaction", (transaction: Y.Transaction) => this.after(transaction));
  }

  /** The server has everything. */
  settle(): void {
    const ids = new Set([...this.cells.keys(), ...this.fresh]);
    if (ids.size === 0) return;
    this.cells.clear();
    this.fresh.clear();
    this.learn((cell) => ids.has(cell.id));
    const present = new Set(this.notebook.cells.map((cell) => cell.id));
    for (const id of ids) if (!present.has(id)) this.known.delete(id);
  }

  /** What to tell the server before a sync. */
  report(): AwayCell[] {
    const present = new Map(this.notebook.cells.map((cell) => [cell.id, cell]));
    return [...this.cells].map(([id, cell]) => {
      cell.told = true;
      return this.toldOf(id, cell, present.get(id) ?? null);
    });
  }

  private toldOf(id: string, { base, type, after }: Unsettled, cell: Cell | null): AwayCell {
    return { id, base, type, after, text: cell?.source ?? null };
  }

  private after(transaction: Y.Transaction): void {
    const structure = transaction.changed.has(this.notebook.doc.getArray("cells") as never);
    const texts = [...transaction.changed.keys()].filter((type) => (type as unknown) instanceof Y.Text);
    if (!structure && texts.length === 0) return;
    if (this.isRemote(transaction.origin)) this.afterRemote(structure, texts as unknown[]);
    else this.afterLocal(structure, texts as unknown[]);
  }

  private afterLocal(structure: boolean, texts: unknown[]): void {
    let above = "";
    const present = new Set<string>();
    for (const cell of this.notebook.cells) {
      const known = this.known.get(cell.id);
      present.add(cell.id);
      if (!known) this.fresh.add(cell.id);
      if (known && (known.shared !== cell.text || texts.includes(cell.text))) {
        this.begin(cell.id, known.source, cell.type, above);
        known.shared = cell.text;
      }
      const unsettled = this.cells.get(cell.id);
      if (unsettled && (structure || texts.includes(cell.text))) {
        unsettled.text = cell.source;
        unsettled.after = above;
        unsettled.told = false;
      }
      above = cell.id;
    }
    if (!structure) return;
    for (const [id, known] of this.known) if (!present.has(id)) this.begin(id, known.source, "code", "");
  }

  private begin(id: string, base: string, type: CellType, after: string): void {
    if (!this.cells.has(id)) this.cells.set(id, { base, text: base, type, after, told: false });
  }

  private afterRemote(structure: boolean, texts: unknown[]): void {
    if (structure) this.look();
    this.learn((cell) => texts.includes(cell.text) || (structure && this.known.get(cell.id)?.shared !== cell.text));
    if (!structure) return;
    const present = new Set(this.notebook.cells.map((cell) => cell.id));
    for (const id of [...this.known.keys()]) if (!present.has(id) && !this.cells.has(id)) this.known.delete(id);
  }

  /** Others have moved or deleted cells: tells of what was unsettled in them. */
  private look(): void {
    const lost: AwayCell[] = [];
    for (const [id, { base, text, type, after, told }] of this.cells) {
      if (this.known.get(id)?.shared?._item?.deleted !== true) continue;
      this.cells.delete(id);
      if (!told && text !== base) lost.push({ id, base, text, type, after });
    }
    if (lost.length > 0) this.taken(lost);
  }

  /** Takes over what cells read that have no unsettled changes. */
  private learn(which: (cell: Cell) => boolean): void {
    for (const cell of this.notebook.cells)
      if (!this.cells.has(cell.id) && which(cell)) this.known.set(cell.id, { shared: cell.text, source: cell.source });
  }
}
