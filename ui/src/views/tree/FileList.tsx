/**
 * The list of a folder: a table in blocks of rows, of which the browser lays out those in view (content-visibility), so that
 * thousands of entries stay light while "find in page" and screen readers still have all of them.
 *
 * Arrow keys, Home and End move from name to name; the other controls of a row are reached with Tab from its name.
 */
// biome-ignore-all lint/a11y/useSemanticElements: parts of a <table> cannot have content-visibility
// biome-ignore-all lint/a11y/useFocusableInteractive: the buttons in the column headers have the focus, not the headers
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { JSX, VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
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
  MoreIcon,
  NotebookIcon,
  TableFileIcon,
  TextFileIcon,
  UpIcon,
} from "../common/icons";
import { entryMenu, remove, rename } from "./actions";
import type { Folder } from "./folder";
import { fullTime, type SortKey, timeAgo } from "./listing";
import type { Places } from "./places";

/** Rows of one block; the first blocks are drawn at once, the others when the page has time. */
const BLOCK = 100;
const AT_ONCE = 2;

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
    const needed = Math.ceil(folder.shown.value.length / BLOCK);
    if (blocks.value >= needed) return undefined;
    const timer = setTimeout(() => {
      blocks.value += 5;
    });
    return () => clearTimeout(timer);
  });
  useEffect(() => {
    blocks.value = AT_ONCE;
  }, [folder.path.value, blocks]);
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
  const onKeyDown = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    const entry = entryAt(target);
    if (!entry || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = nextRow(target.closest(".row"), event.key);
    if (next) activate(next, true);
    else if (event.key === "F2") void rename(folder, entry);
    else if (event.key === "Delete")
      void remove(folder, folder.selected.value.has(entry.path) ? folder.chosen.value : [entry]);
    else if (event.key === " " && target.matches(".row-name")) folder.toggle(entry.path);
    else if (event.key === "Backspace" && folder.path.value) go(folder.path.value.split("/").slice(0, -1).join("/"));
    else return;
    event.preventDefault();
  };

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
          <Row key={entry.path} entry={entry} index={block * BLOCK + index} folder={folder} places={places} />
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
        onFocusIn={(event) => activate((event.target as HTMLElement).closest(".row"))}
      >
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
  folder: Folder;
  places: Places;
}

function Row({ entry, index, folder, places }: RowProps): JSX.Element {
  const selected = useComputed(() => folder.selected.value.has(entry.path));
  const ago = useComputed(() => timeAgo(entry.last_modified, folder.now.value));
  const state = useComputed(() => folder.sessionByPath.value.get(entry.path)?.kernel?.execution_state ?? null);
  const broken = entry.type === "broken";
  const icon = iconOf(entry);
  const name = (
    <>
      <span class={`row-icon row-icon-${entry.type}`}>
        <Icon icon={icon} size={20} />
      </span>
      <span class="row-text">
        <span class="row-title">{entry.name}</span>
        <span class="row-details" aria-hidden="true">
          {ago}
          {entry.size !== null && ` · ${sizeText(entry.size)}`}
        </span>
      </span>
    </>
  );
  return (
    <div class="row" role="row" tabIndex={-1} aria-rowindex={index + 2} data-index={index} data-selected={selected}>
      <span role="cell" class="cell-check">
        <input type="checkbox" tabIndex={-1} aria-label={`Select ${entry.name}`} checked={selected} />
      </span>
      <span role="cell" class="cell-name">
        {broken ? (
          <span
            class="row-name"
            tabIndex={-1}
            title="This link leads to something that does not exist or cannot be read."
          >
            {name}
            <span class="badge badge-warning">Broken link</span>
          </span>
        ) : (
          <a class="row-name" tabIndex={-1} href={places.open(entry)}>
            {name}
          </a>
        )}
        {state.value !== null && <KernelBadge state={state.value} />}
      </span>
      <span role="cell" class="cell-modified">
        <time dateTime={entry.last_modified} title={fullTime(entry.last_modified)}>
          {ago}
        </time>
      </span>
      <span role="cell" class="cell-size">
        {entry.size === null ? "" : sizeText(entry.size)}
      </span>
      <span role="cell" class="cell-more">
        <button
          type="button"
          class="button icon-button button-quiet row-more"
          tabIndex={-1}
          aria-haspopup="menu"
          aria-label={`Actions for ${entry.name}`}
          title="Actions"
        >
          <Icon icon={MoreIcon} />
        </button>
      </span>
    </div>
  );
}

const STATES: Readonly<Record<string, string>> = {
  idle: "Running",
  busy: "Busy",
  starting: "Starting",
  restarting: "Restarting",
  dead: "Kernel died",
};

/** How a notebook's kernel is. */
export function KernelBadge({ state }: { state: string }): JSX.Element {
  return <span class={`badge badge-kernel badge-${state}`}>{STATES[state] ?? state}</span>;
}

function iconOf(entry: Entry): IconNode {
  if (entry.type === "directory") return FolderIcon;
  if (entry.type === "notebook") return NotebookIcon;
  if (entry.type === "broken") return BrokenIcon;
  const ending = entry.name.slice(entry.name.lastIndexOf(".") + 1).toLowerCase();
  if (/^(?:png|jpe?g|gif|webp|svg|avif|bmp|tiff?|ico)$/.test(ending)) return ImageFileIcon;
  if (/^(?:csv|tsv|parquet|feather|arrow|xlsx?|ods|db|sqlite)$/.test(ending)) return TableFileIcon;
  if (
    /^(?:py|pyi|ipy|r|jl|js|ts|tsx|jsx|c|h|cc|cpp|hpp|rs|go|java|rb|sh|bash|sql|html?|css|toml|ya?ml|json|xml|lua|f90)$/.test(
      ending,
    )
  )
    return CodeFileIcon;
  if (/^(?:txt|md|rst|log|tex|pdf|docx?|odt)$/.test(ending)) return TextFileIcon;
  return FileIcon;
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
