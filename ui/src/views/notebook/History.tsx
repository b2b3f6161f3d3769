/** The history of a notebook: the states of its last saves, what changed since each, and the way back to one. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { lineDiff } from "../../model/line_diff";
import { urlOf } from "../../net/rest";
import { sizeText } from "../../outputs/dom";
import { Button, Dialog, toast } from "../common";
import type { Page } from "./page";

interface Version {
  id: string;
  last_modified: string;
  /** Bytes of the file. */
  size: number;
}

/** What became of one cell between that state and now. */
interface CellDifference {
  id: string;
  cell_type: string;
  action: "same" | "changed" | "added" | "removed";
  before?: string;
  after?: string;
  outputs?: boolean;
  moved?: boolean;
}

const EMPTY = "Nothing is kept yet: each save from now on is.";

export function History({ page }: { page: Page }): JSX.Element | null {
  return page.historyShown.value ? <Panel page={page} /> : null;
}

function Panel({ page }: { page: Page }): JSX.Element {
  const versions = useSignal<Version[] | null>(null);
  const chosen = useSignal<Version | null>(null);
  const cells = useSignal<CellDifference[] | null>(null);
  const problem = useSignal("");
  const path = page.path.peek();
  const close = (): void => {
    page.historyShown.value = false;
  };
  const failed = (error: unknown): void => {
    problem.value = (error as Error).message;
  };
  const choose = (version: Version): void => {
    chosen.value = version;
    cells.value = null;
    problem.value = "";
    page.rest
      .get<CellDifference[]>(urlOf("", "api/history", path, "versions", version.id, "diff"))
      .then((found) => {
        if (chosen.peek() === version) cells.value = found;
      })
      .catch(failed);
  };
  const restore = (version: Version): void => {
    page.rest
      .send("POST", urlOf("", "api/history", path, "versions", version.id))
      .then(() => {
        close();
        toast(`The notebook is as it was at ${timeOf(version)}. What it was before is in its history.`);
      })
      .catch(failed);
  };
  useEffect(() => {
    page.rest
      .get<Version[]>(urlOf("", "api/history", path))
      .then((found) => {
        versions.value = found;
        if (found[0]) choose(found[0]);
      })
      .catch(failed);
  }, []);
  const version = chosen.value;
  const same = cells.value !== null && differences(cells.value).length === 0;
  return (
    <Dialog
      title="History"
      wide
      onClose={close}
      actions={
        version && (
          <Button variant="primary" disabled={page.readOnly || same} onClick={() => restore(version)}>
            Restore this version
          </Button>
        )
      }
    >
      {problem.value && <p role="alert">{problem.value}</p>}
      {versions.value?.length === 0 && <p>{EMPTY}</p>}
      <div class="history">
        <ul class="history-versions" aria-label="Saved versions">
          {versions.value?.map((each) => (
            <li key={each.id}>
              <button type="button" aria-pressed={each === version} onClick={() => choose(each)}>
                <time dateTime={each.last_modified}>{timeOf(each)}</time>
                <span>{sizeText(each.size)}</span>
              </button>
            </li>
          ))}
        </ul>
        <section class="history-changes" aria-label="What changed since" aria-busy={cells.value === null}>
          {cells.value && <Changes cells={cells.value} />}
        </section>
      </div>
    </Dialog>
  );
}

function differences(cells: CellDifference[]): CellDifference[] {
  return cells.filter((cell) => cell.action !== "same" || cell.moved);
}

function Changes({ cells }: { cells: CellDifference[] }): JSX.Element {
  const changed = differences(cells);
  if (changed.length === 0) return <p>The notebook is the same now.</p>;
  return (
    <>
      <p>From that version to the notebook of now:</p>
      {changed.map((cell) => (
        <Change key={cell.id} cell={cell} />
      ))}
    </>
  );
}

const KINDS: Record<string, string> = { code: "Code cell", markdown: "Markdown cell", raw: "Raw cell" };

function Change({ cell }: { cell: CellDifference }): JSX.Element {
  const done: string[] = cell.action === "same" ? [] : [cell.action];
  if (cell.moved) done.push("moved");
  const lines = lineDiff(cell.before ?? "", cell.after ?? "");
  // A cell that came or went has one side only; the other is not one empty line.
  const shown = lines.filter(
    (line) =>
      !(line.kind === "removed" && cell.action === "added") && !(line.kind === "added" && cell.action === "removed"),
  );
  const edited = cell.before !== undefined || cell.after !== undefined;
  return (
    <article class={`history-cell history-${cell.action}`}>
      <h3>
        {KINDS[cell.cell_type] ?? "Cell"} {done.join(", ")}
        {cell.outputs && " (its outputs differ)"}
      </h3>
      {edited && (
        <pre>
          {shown.map((line, index) => (
            <span key={index} class={`diff-${line.kind}`}>
              {{ same: "  ", removed: "− ", added: "+ " }[line.kind]}
              {line.text}
              {"\n"}
            </span>
          ))}
        </pre>
      )}
    </article>
  );
}

function timeOf(version: Version): string {
  return new Date(version.last_modified).toLocaleString();
}
