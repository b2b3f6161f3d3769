/**
 * Finding text in all of a notebook: the browser's own search sees only the cells that are near the window.
 */
import type { Cell } from "../../model/cell";
import type { JsonObject } from "../../model/schema";
import { parseAnsi } from "../../outputs/ansi";

export interface Match {
  /** Place of the cell in the notebook, from 0. */
  index: number;
  /** Offsets in the source (UTF-16 units); null for a match in an output. */
  range: { from: number; to: number } | null;
}

/** More matches than this are not counted. */
export const MOST = 10_000;

/** All matches in the order of the notebook, whatever their case; an output counts once. */
export function findMatches(cells: readonly Pick<Cell, "source" | "outputs" | "type">[], wanted: string): Match[] {
  const matches: Match[] = [];
  if (wanted === "") return matches;
  const pattern = new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  for (const [index, cell] of cells.entries()) {
    for (const { 0: text, index: from } of cell.source.matchAll(pattern)) {
      matches.push({ index, range: { from, to: from + text.length } });
      if (matches.length === MOST) return matches;
    }
    if (cell.type !== "code") continue;
    for (const output of cell.outputs) {
      if (textOf(output).search(pattern) >= 0) matches.push({ index, range: null });
    }
  }
  return matches;
}

/** What an output shows as text. */
function textOf(output: JsonObject): string {
  const data = output.data as JsonObject | undefined;
  const parts = [output.text, output.traceback, data?.["text/plain"]].flat();
  const text = parts.filter((part) => typeof part === "string").join("");
  return parseAnsi(text)
    .runs.map((run) => run.text)
    .join("");
}
