/**
 * Cells that were cut or copied: in this browser's memory, so that they can be pasted into another notebook, in another tab. The login
 * page forgets them: whoever logs in there may be somebody else.
 */
import { type Signal, signal } from "@preact/signals";
import type { CellJson } from "../../model/schema";

/** Beside the servers of others on the same host, each with its own base URL. */
export function clipboardKey(baseUrl: string): string {
  return `homeport.clipboard ${baseUrl}`;
}

export class Clipboard {
  readonly cells: Signal<readonly CellJson[]> = signal([]);
  private readonly key: string;

  constructor(baseUrl: string) {
    this.key = clipboardKey(baseUrl);
    this.read();
    addEventListener("storage", (event) => {
      if (event.key === this.key || event.key === null) this.read();
    });
  }

  put(cells: readonly CellJson[]): void {
    this.cells.value = cells;
    try {
      localStorage.setItem(this.key, JSON.stringify(cells));
    } catch {
      // Too large for it, or there is none: then they are for this page only, and nothing older may stand there for the others.
      try {
        localStorage.removeItem(this.key);
      } catch {
        // There is none.
      }
    }
  }

  private read(): void {
    try {
      const kept: unknown = JSON.parse(localStorage.getItem(this.key) ?? "[]");
      if (Array.isArray(kept)) this.cells.value = kept as CellJson[];
    } catch {
      // As if nothing had been copied.
    }
  }
}
