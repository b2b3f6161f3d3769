/** The toolbar: buttons for what is done most, menus for the rest. On a narrow screen the buttons go into the menus. */
import { useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { CellType } from "../../model/schema";
import { chooseTheme, chosenTheme } from "../../theme/theme";
import { IconButton, type IconNode, MenuButton, type MenuItem } from "../common";
import { ACTIONS, type Action, type ActionName, act } from "./actions";
import {
  CopyIcon,
  CutIcon,
  DownIcon,
  HistoryIcon,
  InsertBelowIcon,
  KeyboardIcon,
  MoreIcon,
  PasteIcon,
  RestartIcon,
  RunAllIcon,
  RunIcon,
  SaveIcon,
  StopIcon,
  UpIcon,
} from "./icons";
import type { Page } from "./page";
import { hint, IS_MAC, labelOf } from "./shortcuts";

interface ToolProps {
  page: Page;
  action: ActionName;
  icon: IconNode;
  class?: string;
  disabled?: boolean;
}

/** Buttons of the toolbar do not take the focus from the cell: what is pressed there is meant for the cell. */
function keepFocus(event: MouseEvent): void {
  event.preventDefault();
}

function Tool({ page, action, icon, class: extra, disabled }: ToolProps): JSX.Element {
  const off = disabled || (page.readOnly && (ACTIONS[action] as Action).writes === true);
  return (
    <IconButton
      label={labelOf(action)}
      icon={icon}
      shortcut={hint(action, IS_MAC)}
      class={extra ?? ""}
      disabled={off}
      onMouseDown={keepFocus}
      onClick={() => act(page, action)}
    />
  );
}

function item(page: Page, action: ActionName, icon?: IconNode): MenuItem {
  const off = page.readOnly && (ACTIONS[action] as Action).writes === true;
  return {
    label: labelOf(action),
    hint: hint(action, IS_MAC),
    disabled: off,
    onSelect: () => act(page, action),
    ...(icon && { icon }),
  };
}

function runItems(page: Page): MenuItem[] {
  return [
    item(page, "run-and-advance", RunIcon),
    item(page, "run-in-place"),
    item(page, "run-and-insert"),
    "separator",
    item(page, "run-above"),
    item(page, "run-below"),
    item(page, "run-all", RunAllIcon),
    "separator",
    item(page, "restart-run-all"),
    item(page, "restart-clear"),
  ];
}

function moreItems(page: Page): MenuItem[] {
  return [
    item(page, "save", SaveIcon),
    item(page, "history", HistoryIcon),
    "separator",
    item(page, "undo"),
    item(page, "redo"),
    item(page, "cut", CutIcon),
    item(page, "copy", CopyIcon),
    item(page, "paste-below", PasteIcon),
    item(page, "duplicate"),
    "separator",
    item(page, "move-up", UpIcon),
    item(page, "move-down", DownIcon),
    item(page, "split"),
    item(page, "merge"),
    item(page, "delete"),
    "separator",
    item(page, "find"),
    "separator",
    item(page, "clear-outputs"),
    item(page, "clear-all-outputs"),
    item(page, "toggle-all-outputs"),
    item(page, "line-numbers"),
    "separator",
    item(page, "restart", RestartIcon),
    item(page, "help", KeyboardIcon),
    "separator",
    ...THEMES.map(
      ([theme, label]): MenuItem => ({ label, checked: chosenTheme() === theme, onSelect: () => chooseTheme(theme) }),
    ),
  ];
}

const THEMES = [
  ["system", "Light or dark like the system"],
  ["light", "Light"],
  ["dark", "Dark"],
] as const;

const TYPES: { type: CellType; label: string; action: ActionName }[] = [
  { type: "code", label: "Code", action: "to-code" },
  { type: "markdown", label: "Markdown", action: "to-markdown" },
  { type: "raw", label: "Raw", action: "to-raw" },
];

function TypeChoice({ page }: { page: Page }): JSX.Element {
  const type = useComputed(() => page.cells.value.find((view) => view.key === page.active.value)?.cell.value.type);
  return (
    <select
      class="type-choice"
      aria-label="Cell type"
      value={type.value ?? "code"}
      disabled={page.readOnly}
      onChange={(event) => {
        const chosen = TYPES.find((entry) => entry.type === event.currentTarget.value);
        if (chosen) act(page, chosen.action);
      }}
    >
      {TYPES.map((entry) => (
        <option key={entry.type} value={entry.type}>
          {entry.label}
        </option>
      ))}
    </select>
  );
}

/** One stop of the Tab key for the whole bar; the arrow keys walk in it. */
function useRoving(): { current: HTMLDivElement | null } {
  const bar = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = bar.current;
    if (!element) return;
    const all = (): HTMLElement[] => [...element.querySelectorAll<HTMLElement>("button:not(:disabled), select")];
    const stopAt = (stop: Element | undefined): void => {
      for (const each of all()) each.tabIndex = each === stop ? 0 : -1;
    };
    const pressed = (event: KeyboardEvent): void => {
      const seen = all().filter((each) => each.offsetParent !== null);
      const at = seen.indexOf(event.target as HTMLElement);
      if (at < 0) return;
      const steps: Record<string, number> = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: seen.length - 1 };
      const next = steps[event.key];
      if (next === undefined) return;
      event.preventDefault();
      seen[(next + seen.length) % seen.length]?.focus();
    };
    const focused = (event: FocusEvent): void => stopAt(event.target as Element);
    stopAt(all()[0]);
    element.addEventListener("keydown", pressed);
    element.addEventListener("focusin", focused);
    return () => {
      element.removeEventListener("keydown", pressed);
      element.removeEventListener("focusin", focused);
    };
  }, []);
  return bar;
}

export function Toolbar({ page }: { page: Page }): JSX.Element {
  const empty = page.clipboard.cells.value.length === 0;
  const bar = useRoving();
  return (
    <div ref={bar} class="toolbar" role="toolbar" aria-label="Notebook">
      <div class="tools">
        <Tool page={page} action="run-and-advance" icon={RunIcon} />
        <Tool page={page} action="run-all" icon={RunAllIcon} />
        <MenuButton label="Run menu" chevron items={() => runItems(page)} class="menu-chevron" />
        <Tool page={page} action="interrupt" icon={StopIcon} />
        <Tool page={page} action="restart" icon={RestartIcon} class="wide-only" />
      </div>
      <div class="tools">
        <Tool page={page} action="insert-below" icon={InsertBelowIcon} />
        <Tool page={page} action="cut" icon={CutIcon} class="wide-only" />
        <Tool page={page} action="copy" icon={CopyIcon} class="wide-only" />
        <Tool page={page} action="paste-below" icon={PasteIcon} class="wide-only" disabled={empty} />
        <Tool page={page} action="move-up" icon={UpIcon} class="wide-only" />
        <Tool page={page} action="move-down" icon={DownIcon} class="wide-only" />
      </div>
      <TypeChoice page={page} />
      <div class="tools tools-end">
        <Tool page={page} action="save" icon={SaveIcon} class="wide-only" />
        <Tool page={page} action="help" icon={KeyboardIcon} class="wide-only" />
        <MenuButton label="More actions" icon={MoreIcon} items={() => moreItems(page)} />
      </div>
    </div>
  );
}
