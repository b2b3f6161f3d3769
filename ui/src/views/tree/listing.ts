/** What the list of a folder shows, purely: order, filter, words for times and sizes, names. */
import type { Entry } from "../../net/jupyter";

export type SortKey = "name" | "modified" | "size";

export interface Order {
  key: SortKey;
  descending: boolean;
}

/** "file9" before "file10", capitals beside small letters, as people sort. */
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** @returns the entries whose names contain `filter`, folders first, in this order. */
export function arrange(entries: readonly Entry[], order: Order, filter: string): Entry[] {
  const wanted = filter.trim().toLocaleLowerCase();
  const shown = wanted ? entries.filter((entry) => entry.name.toLocaleLowerCase().includes(wanted)) : [...entries];
  const direction = order.descending ? -1 : 1;
  return shown.sort((a, b) => {
    const folders = Number(b.type === "directory") - Number(a.type === "directory");
    return folders || direction * compare(a, b, order.key) || collator.compare(a.name, b.name);
  });
}

function compare(a: Entry, b: Entry, key: SortKey): number {
  if (key === "modified") return a.last_modified < b.last_modified ? -1 : Number(a.last_modified > b.last_modified);
  if (key === "size") return (a.size ?? -1) - (b.size ?? -1);
  return collator.compare(a.name, b.name);
}

/** Entries as they were where nothing changed, so that their rows need not be drawn again. */
export function reuse(before: readonly Entry[], now: readonly Entry[]): Entry[] {
  const known = new Map(before.map((entry) => [entry.path, entry]));
  return now.map((entry) => {
    const old = known.get(entry.path);
    return old && sameEntry(old, entry) ? old : entry;
  });
}

function sameEntry(a: Entry, b: Entry): boolean {
  return (
    a.name === b.name &&
    a.type === b.type &&
    a.last_modified === b.last_modified &&
    a.size === b.size &&
    a.writable === b.writable
  );
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 365.25 * 86_400],
  ["month", 30.44 * 86_400],
  ["week", 7 * 86_400],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** "2 hours ago". @param now in ms. */
export function timeAgo(iso: string, now: number): string {
  const seconds = (Date.parse(iso) - now) / 1000;
  if (!Number.isFinite(seconds)) return "";
  for (const [unit, length] of STEPS)
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  // Also what lies a little in the future: clocks differ.
  return "just now";
}

/** The full date and time, in the reader's own way. */
export function fullTime(iso: string): string {
  const time = Date.parse(iso);
  return Number.isFinite(time) ? absolute.format(time) : "";
}

/** What is wrong with a name for a file or folder, or "" when nothing is. */
export function nameTrouble(name: string, taken: (name: string) => boolean): string {
  if (name === "") return "Give it a name.";
  if (name === "." || name === "..") return `“${name}” is a name that the system uses itself.`;
  if (/[/\0]/.test(name)) return "A name cannot contain a slash.";
  if (new TextEncoder().encode(name).length > 255) return "This name is too long.";
  return taken(name) ? `“${name}” exists already in this folder.` : "";
}

/** "plot (1).png": a name that is free, beside one that is not. */
export function freeName(name: string, taken: (name: string) => boolean): string {
  if (!taken(name)) return name;
  const [, stem = name, ending = ""] = /^(.+?)((?:\.[^.]+)?)$/.exec(name) ?? [];
  for (let number = 1; ; number += 1) {
    const candidate = `${stem} (${number})${ending}`;
    if (!taken(candidate)) return candidate;
  }
}

/** How much of a name is selected for renaming: all but the ending. */
export function stemLength(entry: Entry): number {
  const dot = entry.name.lastIndexOf(".");
  return entry.type === "directory" || dot <= 0 ? entry.name.length : dot;
}

export interface Crumb {
  name: string;
  path: string;
}

/** The folders on the way to `path`, without the root. */
export function crumbs(path: string): Crumb[] {
  const names = path.split("/").filter(Boolean);
  return names.map((name, index) => ({ name, path: names.slice(0, index + 1).join("/") }));
}
