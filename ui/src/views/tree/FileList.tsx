/**
 * The list of a folder: a table in blocks of rows, of which the browser lays out those in view (content-visibility), so that
 * thousands of entries stay light while "find in page" and screen readers still have all of them.
 *
 * Arrow keys, Home and End move from name to name; the other controls of a row are reached with Tab from its name.
 */
// biome-ignore-all lint/a11y/useSemanticElements: parts of a <table> cannot have content-visibility
// biome-ignore-all lint/a11y/useFocusableInteractive: the buttons in the column headers have the focus, not the headers
import { useSignal, useSignalEffect } from "@preact/signals";
import { Component, createElement, type JSX, type VNode } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Entry } from "../../net/jupyter";
import { sizeText } from "../../outputs/dom";
import { Icon, type IconNode, MenuList } from "../common";
import {
  BrokenIcon,
  CodeFileIcon,
  DownIcon,
  FileIcon,
  FolderIcon,
  ImageFileIcon,
  NotebookIcon,
  TableFileIcon,
  TextFileIcon,
  UpIcon,
} from "../common/icons";
import { entryMenu, remove, rename } from "./actions";
import type { Folder } from "./folder";
import { fullTime, type SortKey, timeAgo } from "./listing";
import type { Places } from "./places";

/** Rows of one block; the first block is drawn at once, the others one by one when the page has time. */
const BLOCK = 50;
const AT_ONCE = 1;

export interface FileListProps {
  folder: Folder;
  places: Places;
  /** Opens a folder without loading a page. */
  go: (path: string) => void;
}

export function FileList({ folder, places, go }: FileListProps): JSX.Element {
  const table = useRef<HTMLDivElement>(null);
  const [menu, setMenu] = useState<{ anchor: HTMLElement; entry: Entry } | null>(null);
  const blocks = useSignal(AT_ONCE);
  const shown = folder.shown.value;

  useSignalEffect(() => {
    // Other entries, another order: again from the first block.
    folder.shown.value;
    blocks.value = AT_ONCE;
  });
  useSignalEffect(() => {
    if (blocks.value * BLOCK >= folder.shown.value.length) return undefined;
    return whenIdle(() => {
      blocks.value += 1;
    });
  });
  // Some row must be reachable with Tab; which one depends on what was drawn.
  useLayoutEffect(() => {
    if (table.current && !table.current.querySelector('.row-name[tabindex="0"]'))
      activate(table.current.querySelector(".row"));
  });

  const entryAt = (target: EventTarget | null): Entry | undefined => {
    const row = (target as HTMLElement | null)?.closest<HTMLElement>(".row");
    return row ? folder.shown.value[Number(row.dataset.index)] : undefined;
  };
  const onClick = (event: MouseEvent) => {
    const target = event.target as HTMLElement;
    const entry = entryAt(target);
    if (!entry) return;
    const more = target.closest<HTMLElement>(".row-more");
    if (more) setMenu({ anchor: more, entry });
    else if (target.closest(".row-name") && entry.type === "directory" && plainClick(event)) {
      event.preventDefault();
      go(entry.path);
    }
  };
  const onChange = (event: Event) => {
    const box = event.target as HTMLInputElement;
    const entry = entryAt(box);
    if (entry) folder.toggle(entry.path, box.checked);
  };
  /** Deletes what is selected, or this entry; the focus then goes to what has taken its place. */
  const removeAt = async (entry: Entry) => {
    const index = folder.shown.value.indexOf(entry);
    const removed = await remove(folder, folder.selected.value.has(entry.path) ? folder.chosen.value : [entry]);
    if (!removed || folder.shown.value.length === 0) return;
    const next = Math.min(index, folder.shown.value.length - 1);
    activate(table.current?.querySelector<HTMLElement>(`.row[data-index="${next}"]`) ?? null, true);
  };
  // The full time, made when it is looked at: making thousands takes longer than drawing the list.
  const onPointerOver = (event: PointerEvent) => {
    const time = (event.target as HTMLElement).closest("time");
    if (time) time.title = fullTime(time.dateTime);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    const entry = entryAt(target);
    if (!entry || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = nextRow(target.closest(".row"), event.key);
    if (next) activate(next, true);
    else if (event.key === "F2") void rename(folder, entry);
    else if (event.key === "Delete") void removeAt(entry);
    else if (event.key === " " && target.matches(".row-name")) folder.toggle(entry.path);
    else if (event.key === "Backspace" && folder.path.value) go(folder.path.value.split("/").slice(0, -1).join("/"));
    else return;
    event.preventDefault();
  };

  const selected = folder.selected.value;
  const sessions = folder.sessionByPath.value;
  const now = folder.now.value;
  const drawn: VNode[] = [];
  for (let block = 0; block < Math.min(blocks.value, Math.ceil(shown.length / BLOCK)); block += 1) {
    const entries = shown.slice(block * BLOCK, (block + 1) * BLOCK);
    drawn.push(
      <div
        key={block}
        class="row-block"
        role="rowgroup"
        style={{ containIntrinsicBlockSize: `auto calc(${entries.length} * var(--row-height))` }}
      >
        {entries.map((entry, index) => (
          <Row
            key={entry.path}
            entry={entry}
            index={block * BLOCK + index}
            href={places.open(entry)}
            selected={selected.has(entry.path)}
            ago={timeAgo(entry.last_modified, now)}
            state={sessions.get(entry.path)?.kernel?.execution_state ?? null}
          />
        ))}
      </div>,
    );
  }

  return (
    <>
      <div
        ref={table}
        class="file-list"
        role="table"
        aria-label="Files"
        aria-rowcount={shown.length + 1}
        aria-busy={folder.opening.value !== null}
        onClick={onClick}
        onChange={onChange}
        onKeyDown={onKeyDown}
        onPointerOver={onPointerOver}
        onFocusIn={(event) => activate((event.target as HTMLElement).closest(".row"))}
      >
        <IconSheet />
        <Header folder={folder} />
        {drawn}
      </div>
      {menu && (
        <MenuList
          id="row-menu"
          label={`Actions for ${menu.entry.name}`}
          anchor={{ current: menu.anchor }}
          items={entryMenu(folder, places, menu.entry)}
          close={(refocus) => {
            setMenu(null);
            if (refocus) menu.anchor.focus();
          }}
        />
      )}
    </>
  );
}

const COLUMNS: { key: SortKey; label: string }[] = [
  { key: "name", label: "Name" },
  { key: "modified", label: "Last modified" },
  { key: "size", label: "Size" },
];

function Header({ folder }: { folder: Folder }): JSX.Element {
  const { key, descending } = folder.order.value;
  const count = folder.chosen.value.length;
  const all = folder.shown.value.length;
  return (
    <div class="list-header" role="row" tabIndex={-1}>
      <span role="columnheader" class="cell-check">
        <input
          type="checkbox"
          aria-label="Select all"
          checked={count > 0 && count === all}
          indeterminate={count > 0 && count < all}
          disabled={all === 0}
          onChange={(event) => {
            event.stopPropagation();
            folder.selectAll(event.currentTarget.checked);
          }}
        />
      </span>
      {COLUMNS.map((column) => {
        const sorted = column.key === key;
        const direction = sorted ? (descending ? "descending" : "ascending") : undefined;
        return (
          <span
            key={column.key}
            role="columnheader"
            class={`cell-${column.key}`}
            {...(direction && { "aria-sort": direction })}
          >
            <button
              type="button"
              class="sort"
              onClick={() => folder.sortBy(column.key)}
              title={`Sort by ${column.label.toLowerCase()}`}
            >
              {column.label}
              {sorted && <Icon icon={descending ? DownIcon : UpIcon} size={14} />}
            </button>
          </span>
        );
      })}
      <span role="columnheader" class="cell-more">
        <span class="hidden-visually">Actions</span>
      </span>
    </div>
  );
}

interface RowProps {
  entry: Entry;
  index: number;
  href: string;
  selected: boolean;
  /** "2 hours ago" */
  ago: string;
  /** Of the notebook's kernel; null when none runs. */
  state: string | null;
}

/** There may be thousands: few elements each, and drawn again only when something about them changed. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    const now = this.props;
    return (Object.keys(next) as (keyof RowProps)[]).some((name) => next[name] !== now[name]);
  }

  override render({ entry, index, href, selected, ago, state }: RowProps): JSX.Element {
    const name = (
      <>
        <RowIcon name={iconOf(entry)} />
        <span class="row-title">{entry.name}</span>
      </>
    );
    return (
      <div class="row" role="row" tabIndex={-1} aria-rowindex={index + 2} data-index={index} data-selected={selected}>
        <span role="cell" class="cell-check">
          <input type="checkbox" tabIndex={-1} aria-label={`Select ${entry.name}`} checked={selected} />
        </span>
        <span role="cell" class="cell-name">
          {entry.type === "broken" ? (
            <span class="row-name" tabIndex={-1} title="This cannot be opened here.">
              {name}
              <span class="badge badge-warning">{entry.why}</span>
            </span>
          ) : (
            <a class="row-name" tabIndex={-1} href={href}>
              {name}
            </a>
          )}
          {state !== null && <KernelBadge state={state} />}
        </span>
        <time role="cell" class="cell-modified" dateTime={entry.last_modified}>
          {ago}
        </time>
        <span role="cell" class="cell-size">
          {entry.size === null ? "" : sizeText(entry.size)}
        </span>
        <span role="cell" class="cell-more">
          <button
            type="button"
            class="row-more"
            tabIndex={-1}
            aria-haspopup="menu"
            aria-label={`Actions for ${entry.name}`}
          >
            ⋯
          </button>
        </span>
      </div>
    );
  }
}

/** An icon that is drawn once in the page ({@link IconSheet}) and referred to by each row. */
function RowIcon({ name }: { name: RowIconName }): JSX.Element {
  return (
    <svg class={`row-icon row-icon-${name}`} aria-hidden="true">
      <use href={`#row-icon-${name}`} />
    </svg>
  );
}

const ROW_ICONS = {
  directory: FolderIcon,
  notebook: NotebookIcon,
  broken: BrokenIcon,
  image: ImageFileIcon,
  table: TableFileIcon,
  code: CodeFileIcon,
  text: TextFileIcon,
  file: FileIcon,
} satisfies Record<string, IconNode>;

type RowIconName = keyof typeof ROW_ICONS;

function IconSheet(): JSX.Element {
  return (
    <svg class="icon-sheet" aria-hidden="true">
      {Object.entries(ROW_ICONS).map(([name, icon]) => (
        <symbol key={name} id={`row-icon-${name}`} viewBox="0 0 24 24">
          {icon.map(([tag, attributes], index) => createElement(tag, { ...attributes, key: index }))}
        </symbol>
      ))}
    </svg>
  );
}

const STATES: Readonly<Record<string, string>> = {
  idle: "Kernel idle",
  busy: "Running",
  starting: "Starting",
  restarting: "Restarting",
  dead: "Kernel died",
};

/** How a notebook's kernel is. */
export function KernelBadge({ state }: { state: string }): JSX.Element {
  return <span class={`badge badge-kernel badge-${state}`}>{STATES[state] ?? state}</span>;
}

const ENDINGS: [RowIconName, RegExp][] = [
  ["image", /^(?:png|jpe?g|gif|webp|svg|avif|bmp|tiff?|ico)$/],
  ["table", /^(?:csv|tsv|parquet|feather|arrow|xlsx?|ods|db|sqlite)$/],
  [
    "code",
    /^(?:py|pyi|ipy|r|jl|js|ts|tsx|jsx|c|h|cc|cpp|hpp|rs|go|java|rb|sh|bash|sql|html?|css|toml|ya?ml|json|xml|lua|f90)$/,
  ],
  ["text", /^(?:txt|md|rst|log|tex|pdf|docx?|odt)$/],
];

function iconOf(entry: Entry): RowIconName {
  if (entry.type !== "file") return entry.type;
  const ending = entry.name.slice(entry.name.lastIndexOf(".") + 1).toLowerCase();
  return ENDINGS.find(([, pattern]) => pattern.test(ending))?.[0] ?? "file";
}

function plainClick(event: MouseEvent): boolean {
  return event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
}

/** Makes one row the one that Tab reaches, and only that one. */
function activate(row: HTMLElement | null, focus = false): void {
  if (!row) return;
  const list = row.closest(".file-list");
  for (const control of list?.querySelectorAll<HTMLElement>('.row [tabindex="0"]') ?? [])
    if (!row.contains(control)) control.tabIndex = -1;
  for (const control of row.querySelectorAll<HTMLElement>("input, .row-name, .row-more")) control.tabIndex = 0;
  if (focus) {
    row.querySelector<HTMLElement>(".row-name")?.focus();
    row.scrollIntoView({ block: "nearest" });
  }
}

function nextRow(row: HTMLElement | null, key: string): HTMLElement | null | undefined {
  const list = row?.closest(".file-list");
  const rows = () => [...(list?.querySelectorAll<HTMLElement>(".row") ?? [])];
  if (key === "ArrowDown") return sibling(row, "nextElementSibling");
  if (key === "ArrowUp") return sibling(row, "previousElementSibling");
  if (key === "Home") return rows()[0];
  if (key === "End") return rows().at(-1);
  return null;
}

/** The row beside this one, over the borders of blocks. */
function sibling(
  row: HTMLElement | null,
  direction: "nextElementSibling" | "previousElementSibling",
): HTMLElement | null {
  const beside = row?.[direction] as HTMLElement | null | undefined;
  if (beside) return beside;
  const block = row?.parentElement?.[direction];
  const edge = direction === "nextElementSibling" ? block?.firstElementChild : block?.lastElementChild;
  return edge?.matches(".row") ? (edge as HTMLElement) : null;
}

/** Runs when the browser has nothing better to do, soon in any case. Returns "do not". */
function whenIdle(run: () => void): () => void {
  if (typeof requestIdleCallback === "function") {
    const handle = requestIdleCallback(run, { timeout: 100 });
    return () => cancelIdleCallback(handle);
  }
  const handle = setTimeout(run);
  return () => clearTimeout(handle);
}
