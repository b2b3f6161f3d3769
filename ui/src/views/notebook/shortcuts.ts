/**
 * The keys of the notebook: one table, which the page obeys and the help dialog draws. Keys are Jupyter's.
 *
 * A key is written as modifiers and `KeyboardEvent.key` (letters in lower case, Shift said), "-" between; `Mod` is Ctrl, and Cmd on a
 * Mac; a space separates keys that are pressed one after the other.
 */
import { ACTIONS, type ActionName } from "./actions";
import type { Mode } from "./page";

export interface Shortcut {
  keys: string[];
  action: ActionName;
  /** Where it counts; both when absent. */
  mode?: Mode;
  group: "Run" | "Cells" | "Select and move" | "Kernel" | "Type" | "View";
}

export const SHORTCUTS: Shortcut[] = [
  { group: "Run", keys: ["Shift-Enter"], action: "run-and-advance" },
  { group: "Run", keys: ["Ctrl-Enter", "Mod-Enter"], action: "run-in-place" },
  { group: "Run", keys: ["Alt-Enter"], action: "run-and-insert" },
  { group: "Kernel", keys: ["i i"], action: "interrupt", mode: "command" },
  { group: "Kernel", keys: ["0 0"], action: "restart", mode: "command" },
  { group: "Select and move", keys: ["Enter"], action: "edit-cell", mode: "command" },
  { group: "Select and move", keys: ["Escape", "Ctrl-m"], action: "leave-editor", mode: "edit" },
  { group: "Select and move", keys: ["ArrowUp", "k"], action: "select-previous", mode: "command" },
  { group: "Select and move", keys: ["ArrowDown", "j"], action: "select-next", mode: "command" },
  { group: "Select and move", keys: ["Shift-ArrowUp", "Shift-k"], action: "extend-up", mode: "command" },
  { group: "Select and move", keys: ["Shift-ArrowDown", "Shift-j"], action: "extend-down", mode: "command" },
  { group: "Select and move", keys: ["Mod-ArrowUp", "Home"], action: "select-first", mode: "command" },
  { group: "Select and move", keys: ["Mod-ArrowDown", "End"], action: "select-last", mode: "command" },
  { group: "Select and move", keys: ["Mod-a"], action: "select-all", mode: "command" },
  { group: "Cells", keys: ["a"], action: "insert-above", mode: "command" },
  { group: "Cells", keys: ["b"], action: "insert-below", mode: "command" },
  { group: "Cells", keys: ["d d"], action: "delete", mode: "command" },
  { group: "Cells", keys: ["z"], action: "undo", mode: "command" },
  { group: "Cells", keys: ["Shift-z"], action: "redo", mode: "command" },
  { group: "Cells", keys: ["x"], action: "cut", mode: "command" },
  { group: "Cells", keys: ["c"], action: "copy", mode: "command" },
  { group: "Cells", keys: ["v"], action: "paste-below", mode: "command" },
  { group: "Cells", keys: ["Shift-v"], action: "paste-above", mode: "command" },
  { group: "Cells", keys: ["Alt-ArrowUp"], action: "move-up", mode: "command" },
  { group: "Cells", keys: ["Alt-ArrowDown"], action: "move-down", mode: "command" },
  { group: "Cells", keys: ["Shift-m"], action: "merge", mode: "command" },
  { group: "Cells", keys: ["Ctrl-Shift-Minus"], action: "split", mode: "edit" },
  { group: "Type", keys: ["y"], action: "to-code", mode: "command" },
  { group: "Type", keys: ["m"], action: "to-markdown", mode: "command" },
  { group: "Type", keys: ["r"], action: "to-raw", mode: "command" },
  { group: "Type", keys: ["1"], action: "heading-1", mode: "command" },
  { group: "Type", keys: ["2"], action: "heading-2", mode: "command" },
  { group: "Type", keys: ["3"], action: "heading-3", mode: "command" },
  { group: "Type", keys: ["4"], action: "heading-4", mode: "command" },
  { group: "Type", keys: ["5"], action: "heading-5", mode: "command" },
  { group: "Type", keys: ["6"], action: "heading-6", mode: "command" },
  { group: "View", keys: ["s"], action: "save", mode: "command" },
  { group: "View", keys: ["Mod-s"], action: "save" },
  { group: "View", keys: ["o"], action: "toggle-outputs", mode: "command" },
  { group: "View", keys: ["Shift-o"], action: "toggle-all-outputs", mode: "command" },
  { group: "View", keys: ["l", "Shift-l"], action: "line-numbers", mode: "command" },
  { group: "View", keys: ["f"], action: "find", mode: "command" },
  { group: "View", keys: ["Mod-f"], action: "find" },
  { group: "View", keys: ["Space"], action: "scroll-down", mode: "command" },
  { group: "View", keys: ["Shift-Space"], action: "scroll-up", mode: "command" },
  { group: "View", keys: ["h"], action: "help", mode: "command" },
];

/** Milliseconds within which the second key of "d d" must come. */
const SEQUENCE_WITHIN = 1_000;

export interface KeyPress {
  key: string;
  code: string;
  ctrlKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
  metaKey: boolean;
}

/** Names a key press as the table does; null for a modifier alone and for input methods. */
export function nameOf(press: KeyPress): string | null {
  if (
    ["Shift", "Control", "Alt", "Meta", "Dead", "Process", "Unidentified", "CapsLock", "AltGraph"].includes(press.key)
  )
    return null;
  let key = press.key.length === 1 ? press.key.toLowerCase() : press.key;
  if (press.code === "Minus" && (key === "-" || key === "_")) key = "Minus";
  // With Alt a Mac types other letters, and a Cyrillic keyboard has no "a": the place of the key counts there.
  if (/^[^\x20-\x7e]$/.test(key) && /^Key[A-Z]$/.test(press.code)) key = press.code.slice(3).toLowerCase();
  if (key === " ") key = "Space";
  const modifiers = [press.ctrlKey && "Ctrl-", press.altKey && "Alt-", press.metaKey && "Meta-"];
  const shift = press.shiftKey && (key.length > 1 || /[a-z]/.test(key)) ? "Shift-" : "";
  return modifiers.filter(Boolean).join("") + shift + key;
}

/** Finds the action of key presses; keeps the first key of a sequence. */
export class KeyReader {
  private readonly table = new Map<string, { command?: ActionName; edit?: ActionName }>();
  private readonly starts = new Set<string>();
  private pending = "";
  private pendingAt = 0;

  constructor(shortcuts: Shortcut[], mac: boolean) {
    for (const { keys, action, mode } of shortcuts) {
      for (const written of keys) {
        const key = written.replace("Mod-", mac ? "Meta-" : "Ctrl-");
        const entry = this.table.get(key) ?? {};
        if (mode !== "edit") entry.command = action;
        if (mode !== "command") entry.edit = action;
        this.table.set(key, entry);
        const [first, second] = key.split(" ");
        if (first && second) this.starts.add(first);
      }
    }
  }

  /** @param at milliseconds. @returns the action, "pending" in the middle of a sequence, or null. */
  read(press: KeyPress, mode: Mode, at: number): ActionName | "pending" | null {
    const name = nameOf(press);
    if (name === null) return null;
    const first = at - this.pendingAt <= SEQUENCE_WITHIN ? this.pending : "";
    this.pending = "";
    const sequence = first ? this.table.get(`${first} ${name}`)?.[mode] : undefined;
    if (sequence) return sequence;
    const single = this.table.get(name)?.[mode];
    if (single) return single;
    if (mode === "command" && this.starts.has(name)) {
      this.pending = name;
      this.pendingAt = at;
      return "pending";
    }
    return null;
  }
}

const SYMBOLS: Record<string, string> = {
  ArrowUp: "↑",
  ArrowDown: "↓",
  ArrowLeft: "←",
  ArrowRight: "→",
  Escape: "Esc",
  Minus: "-",
};

/** The key caps of a shortcut as people read them: `[["Ctrl", "S"]]`; one list per key of a sequence. */
export function caps(written: string, mac: boolean): string[][] {
  return written.split(" ").map((part) =>
    part.split("-").map((cap) => {
      if (cap === "Mod") return mac ? "⌘" : "Ctrl";
      if (cap === "Alt" && mac) return "⌥";
      return SYMBOLS[cap] ?? (cap.length === 1 ? cap.toUpperCase() : cap);
    }),
  );
}

/** How the first key of an action is called in a tooltip: "Ctrl+S"; "" when it has none. */
export function hint(action: ActionName, mac: boolean): string {
  const written = SHORTCUTS.find((shortcut) => shortcut.action === action)?.keys[0];
  if (!written) return "";
  return caps(written, mac)
    .map((keys) => keys.join("+"))
    .join(" ");
}

export function labelOf(action: ActionName): string {
  return ACTIONS[action].label;
}

export const IS_MAC = typeof navigator !== "undefined" && /Mac|iPhone|iPad/.test(navigator.platform);
