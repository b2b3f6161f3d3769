/**
 * Cells that were cut or copied: in this page, and without their outputs in this browser's memory, so that they can be pasted into
 * another notebook in another tab. What is large in an output is kept by the server only as long as its notebook refers to it, and
 * the same address may lead to another server tomorrow.
 *
 * The login page forgets them: whoever logs in there may be somebody else.
 */
import { type Signal, signal } from "@preact/signals";
import { type CellJson, isObject } from "../../model/schema";

/** Beside the servers of others on the same host, each with its own base URL. */
export function clipboardKey(baseUrl: string): string {
  return `homeport.clipboard ${baseUrl}`;
}

export class Clipboard {
  readonly cells: Signal<readonly CellJson[]>;
  private readonly key: string;

  constructor(baseUrl: string) {
    this.key = clipboardKey(baseUrl);
    this.cells = signal(this.read() ?? []);
    addEventListener("storage", (event) => {
      // What is copied in another tab counts here, too; what is forgotten there stays with whoever copied it.
      if (event.key === this.key) this.cells.value = this.read() ?? this.cells.peek();
    });
  }

  /** @returns whether other tabs have them, too: not when they are too large, or where pages have no memory. */
  put(cells: readonly CellJson[]): boolean {
    this.cells.value = cells;
    try {
      localStorage.removeItem(this.key);
      localStorage.setItem(this.key, JSON.stringify(cells.map(withoutOutputs)));
      return true;
    } catch {
      return false;
    }
  }

  private read(): CellJson[] | null {
    try {
      const kept: unknown = JSON.parse(localStorage.getItem(this.key) ?? "null");
      return Array.isArray(kept) && kept.length > 0 && kept.every(isCell) ? kept : null;
    } catch {
      return null;
    }
  }
}

function withoutOutputs({ unknown: _, ...cell }: CellJson): CellJson {
  return cell.cell_type === "code" ? { ...cell, outputs: [], execution_count: null } : cell;
}

/** Another release, or another program on this origin, may have left something else there. */
function isCell(value: unknown): value is CellJson {
  return (
    isObject(value) &&
    ["code", "markdown", "raw"].includes(value.cell_type as string) &&
    typeof value.source === "string" &&
    isObject(value.metadata) &&
    (value.outputs === undefined || Array.isArray(value.outputs)) &&
    (value.attachments === undefined || isObject(value.attachments)) &&
    value.unknown === undefined
  );
}
