/** One cell: an empty box of its height while it is far away, its contents when it is near. */
import { useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { conflictOf } from "../../model/notebook";
import { isObject } from "../../model/schema";
import { Banner, Button, IconButton, MenuButton } from "../common";
import { act } from "./actions";
import type { CellView } from "./cells";
import { InputForms } from "./InputForms";
import {
  DeleteIcon,
  DoneIcon,
  DownIcon,
  EditIcon,
  InsertBelowIcon,
  MoreIcon,
  RunIcon,
  StopIcon,
  UpIcon,
} from "./icons";
import { MarkdownView } from "./MarkdownView";
import { Outputs } from "./Outputs";
import type { Page } from "./page";
import { duration, type QueueEntry, timeOf } from "./server_state";
import { hint, IS_MAC, labelOf } from "./shortcuts";
import { SourcePane } from "./source_pane";

const TYPE_NAMES = { code: "Code cell", markdown: "Markdown cell", raw: "Raw cell" };

export interface CellProps {
  page: Page;
  view: CellView;
  /** Place in the notebook, from 0. */
  index: number;
}

/** The box: what the list needs of every cell, near or far. */
export function CellBox({ page, view, index }: CellProps): JSX.Element {
  const element = useRef<HTMLElement>(null);
  const shown = view.shown.value;
  const active = useComputed(() => page.active.value === view.key).value;
  const selected = useComputed(() => page.selected.value.has(view.key)).value;
  const editing = useComputed(() => page.mode.value === "edit" && page.active.value === view.key).value;
  const { type } = view.cell.value;
  const several = useComputed(() => page.selected.value.size > 1).value;

  useLayoutEffect(() => {
    const box = element.current;
    if (!box) return;
    view.element = box;
    const unwatch = page.nearness.watch(view, box);
    return () => {
      unwatch();
      if (view.element === box) view.element = null;
    };
  }, [page, view]);

  const states = { "is-active": active, "is-selected": selected, "is-alone": !several, "is-editing": editing };
  return (
    <article
      ref={element}
      class={`cell cell-${type} ${Object.entries(states)
        .filter(([, on]) => on)
        .map(([name]) => name)
        .join(" ")}`}
      data-cell-id={view.id}
      tabIndex={active ? 0 : -1}
      aria-label={`${TYPE_NAMES[type]} ${index + 1}${several && selected ? ", selected" : ""}`}
      style={shown ? undefined : { height: `${view.height || view.estimate()}px` }}
      onMouseDown={(event) => pressed(event, page, view)}
      onFocusIn={(event) => {
        if (event.target !== element.current) return;
        page.mode.value = "command";
        if (!page.selected.peek().has(view.key)) page.select(view.key);
      }}
    >
      {shown && <CellContent page={page} view={view} />}
    </article>
  );
}

function pressed(event: MouseEvent, page: Page, view: CellView): void {
  if (event.button !== 0) return;
  const inControl = (event.target as Element).closest("button, input, select, a, summary, .menu") !== null;
  if (event.shiftKey && !inControl) {
    event.preventDefault();
    page.select(view.key, { extend: true });
    view.element?.focus({ preventScroll: true });
    page.mode.value = "command";
  } else if (!inControl || !page.selected.peek().has(view.key)) page.select(view.key);
}

function CellContent({ page, view }: { page: Page; view: CellView }): JSX.Element {
  const cell = view.cell.value;
  view.revision.metadata.value;
  const rendered = cell.type === "markdown" && !view.editing.value;
  const folded = cell.hidden("source");
  return (
    <>
      <div class="cell-side">{cell.type === "code" && <Prompt page={page} view={view} />}</div>
      <div class="cell-main">
        <Conflict page={page} view={view} />
        {folded ? (
          <button type="button" class="folded" onClick={() => page.notebook.setHidden([view.id], "source", false)}>
            Show {cell.type === "code" ? "code" : "source"}
          </button>
        ) : rendered ? (
          <MarkdownView page={page} view={view} />
        ) : (
          <Source key={cell.type} page={page} view={view} />
        )}
        {cell.type === "code" && <Outputs page={page} view={view} />}
        {cell.type === "code" && <InputForms page={page} view={view} />}
      </div>
      <CellTools page={page} view={view} />
    </>
  );
}

function Source({ page, view }: { page: Page; view: CellView }): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (!host.current) return;
    const pane = new SourcePane(host.current, page, view);
    return () => pane.destroy();
  }, [page, view]);
  return <div ref={host} class="cell-source" />;
}

/** `[3]:`, `[*]:` or `[ ]:`, with what the queue says and how long the last run took. */
function Prompt({ page, view }: { page: Page; view: CellView }): JSX.Element {
  view.revision.execution.value;
  const id = view.id;
  const run = useComputed(() => page.server.runs.value.get(id)).value;
  const asked = useComputed(() => page.asked.value.has(id)).value;
  const count = view.cell.value.executionCount;
  const state = run?.state ?? (asked ? "asked" : "idle");
  const shown = state === "idle" ? (count ?? "\u00a0") : "*";
  return (
    <>
      <span class={`prompt prompt-${state}`} aria-hidden="true">
        [{shown}]:
      </span>
      <span class="hidden-visually">{promptWords(state, count)}</span>
      {state === "queued" && <span class="run-note">queued</span>}
      {state === "asked" && (
        <span class="run-note">{page.linkView.value.status === "online" ? "sending" : "waits"}</span>
      )}
      {state === "running" && run ? <Elapsed run={run} /> : state === "idle" && <Took view={view} />}
    </>
  );
}

function promptWords(state: string, count: number | null): string {
  if (state === "running") return "Running";
  if (state === "queued" || state === "asked") return "Queued";
  return count === null ? "Not run" : `Run ${count}`;
}

/** Ticks while a cell runs, without drawing anything but its own text. */
function Elapsed({ run }: { run: QueueEntry }): JSX.Element {
  const text = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    const now = Date.now();
    const at = timeOf(run.at);
    // The server's clock may be another one: never less than nothing.
    const start = Number.isNaN(at) || at > now ? now : at;
    const draw = (): void => {
      const ms = Date.now() - start;
      if (text.current)
        text.current.textContent =
          ms < 1_000 ? "" : duration(Math.floor(ms / 1_000) * 1_000 + 0.001).replace(/\.0 s/, " s");
    };
    draw();
    const timer = setInterval(draw, 1_000);
    return () => clearInterval(timer);
  }, [run.run, run.at]);
  return <span ref={text} class="run-note" />;
}

function Took({ view }: { view: CellView }): JSX.Element | null {
  // The times come after the outputs and the number, in a change of their own.
  view.revision.metadata.value;
  const execution = view.cell.value.metadata.execution;
  if (!isObject(execution)) return null;
  const start = timeOf(execution["iopub.execute_input"] ?? execution["iopub.status.busy"]);
  const end = timeOf(execution["shell.execute_reply"] ?? execution["iopub.status.idle"]);
  const ms = end - start;
  if (Number.isNaN(ms) || ms < 0) return null;
  return (
    <span class={`run-note ${ms < 500 ? "run-note-short" : ""}`} title={`Finished ${new Date(end).toLocaleString()}`}>
      {duration(ms)}
    </span>
  );
}

/** The cell that carries the other side's text of a conflict. */
function Conflict({ page, view }: { page: Page; view: CellView }): JSX.Element | null {
  view.revision.metadata.value;
  if (conflictOf(view.cell.value) === null) return null;
  const settle = (keep: "mine" | "theirs") => () => page.notebook.settleConflict(view.id, keep);
  return (
    <Banner
      level="warning"
      actions={
        <>
          <Button onClick={settle("mine")}>Keep mine</Button>
          <Button onClick={settle("theirs")}>Keep theirs</Button>
        </>
      }
    >
      This cell was changed in two places at once. Below is the other text; yours is in the cell above.
    </Banner>
  );
}

/** What is often done with one cell, at its upper right corner while it is active or under the pointer. */
function CellTools({ page, view }: { page: Page; view: CellView }): JSX.Element {
  const { type } = view.cell.value;
  const rendered = type === "markdown" && !view.editing.value;
  const running = useComputed(() => page.server.runs.value.get(view.id)?.state === "running").value;
  const on = (action: Parameters<typeof act>[1]) => () => {
    if (!page.selected.peek().has(view.key)) page.select(view.key);
    act(page, action);
  };
  const run = (): void => {
    page.select(view.key, { focus: true });
    page.run([view]);
  };
  return (
    <div class="cell-tools">
      {type === "code" && running ? (
        <IconButton label="Interrupt this cell" icon={StopIcon} onClick={on("interrupt")} tabIndex={-1} />
      ) : rendered ? (
        <IconButton label="Edit this cell" icon={EditIcon} onClick={() => page.editCell(view.key)} tabIndex={-1} />
      ) : (
        <IconButton
          label={type === "code" ? "Run this cell" : "Leave this cell's editor"}
          icon={type === "code" ? RunIcon : DoneIcon}
          onClick={run}
          tabIndex={-1}
        />
      )}
      <IconButton label="Insert below this cell" icon={InsertBelowIcon} onClick={on("insert-below")} tabIndex={-1} />
      <MenuButton
        label="More for this cell"
        icon={MoreIcon}
        tabIndex={-1}
        items={() => [
          { label: "Move up", icon: UpIcon, onSelect: on("move-up"), hint: hint("move-up", IS_MAC) },
          { label: "Move down", icon: DownIcon, onSelect: on("move-down"), hint: hint("move-down", IS_MAC) },
          { label: "Insert above", onSelect: on("insert-above"), hint: hint("insert-above", IS_MAC) },
          { label: "Duplicate", onSelect: on("duplicate") },
          ...(type === "code"
            ? [
                "separator" as const,
                { label: "Clear outputs", onSelect: on("clear-outputs") },
                {
                  label: labelOf("toggle-outputs"),
                  onSelect: on("toggle-outputs"),
                  hint: hint("toggle-outputs", IS_MAC),
                },
                { label: labelOf("toggle-source"), onSelect: on("toggle-source") },
              ]
            : []),
          "separator",
          { label: "Delete", icon: DeleteIcon, danger: true, onSelect: on("delete"), hint: hint("delete", IS_MAC) },
        ]}
      />
    </div>
  );
}
