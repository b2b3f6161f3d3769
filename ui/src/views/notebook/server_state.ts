/**
 * What the server says about the notebook besides its document: the `state` keys of docs/architecture.md as signals.
 */
import { batch, computed, type ReadonlySignal, signal } from "@preact/signals";

export interface Kernel {
  /** null while it starts, and when it could not be started. */
  id: string | null;
  name: string;
  display_name: string;
  language: string;
  state: "starting" | "idle" | "busy" | "restarting" | "dead";
  generation: number;
  /** Why it is dead. */
  reason: string;
  stderr: string;
  /** Adopted after its supervisor died: some messages may be missing. */
  lost: boolean;
}

export interface QueueEntry {
  run: string;
  cell: string;
  state: "queued" | "running";
  /** When it came into this state. */
  at: number | string;
}

export interface InputRequest {
  request: string;
  cell: string;
  prompt: string;
  password: boolean;
}

export interface SaveState {
  state: "saved" | "unsaved" | "saving" | "failed";
  error: { code: string; message: string } | null;
  at: number | string | null;
}

/**
 * Whether people's work is saved, in a word or two.
 *
 * What the server has is safe: it writes the file within seconds. While cells print, and while nobody hears from the server,
 * that is no news; what waits on this page is.
 */
export function saveWords(
  state: SaveState["state"],
  { waiting, online, running }: { waiting: number; online: boolean; running: boolean },
): string {
  if (state === "failed") return "Not saved";
  if (waiting > 0) return online ? "Saving…" : "Not saved yet";
  return state === "saved" || running || !online ? "Saved" : "Saving…";
}

export interface Notice {
  key: string;
  level: "info" | "warning" | "error";
  text: string;
  /** An operation with its fields, a page to go to, or a cell of this notebook. */
  action?: { label?: string; op?: string; href?: string; cell?: string } & Record<string, unknown>;
}

const KEYS = ["kernel", "queue", "inputs", "save", "notices", "link", "readonly"] as const;

export class ServerState {
  readonly kernel = signal<Kernel | null>(null);
  readonly queue = signal<QueueEntry[]>([]);
  readonly inputs = signal<InputRequest[]>([]);
  readonly save = signal<SaveState>({ state: "saved", error: null, at: null });
  readonly notices = signal<Notice[]>([]);
  readonly link = signal<{ supervisor: boolean; reason?: string }>({ supervisor: true });
  readonly readonly = signal(false);
  /** By cell id: the furthest that any of its runs has come. */
  readonly runs: ReadonlySignal<Map<string, QueueEntry>> = computed(() => {
    const runs = new Map<string, QueueEntry>();
    for (const entry of this.queue.value) {
      if (entry.state === "running" || !runs.has(entry.cell)) runs.set(entry.cell, entry);
    }
    return runs;
  });

  /** Takes over the keys that are there. */
  merge(state: Record<string, unknown>): void {
    batch(() => {
      for (const key of KEYS) {
        if (!(key in state)) continue;
        const target = this[key] as { value: unknown };
        target.value = state[key] ?? (key === "queue" || key === "inputs" || key === "notices" ? [] : state[key]);
      }
      // How the queue went on, in place of the queue.
      const moved = state.queue_moved as { gone: number; first: QueueEntry } | undefined;
      if (moved) this.queue.value = [moved.first, ...this.queue.peek().slice(moved.gone + 1)];
    });
  }
}

/** Milliseconds since 1970 of a time that the server gave: seconds, milliseconds or ISO 8601; NaN when it is none. */
export function timeOf(at: unknown): number {
  if (typeof at === "number") return at > 1e11 ? at : at * 1000;
  return typeof at === "string" ? Date.parse(at) : Number.NaN;
}

/** A duration as people say it: "0.4 s", "12 s", "3m 05s", "2h 10m". */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(seconds < 0.1 ? 2 : 1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${String(Math.floor(seconds % 60)).padStart(2, "0")}s`;
  return `${Math.floor(minutes / 60)}h ${String(minutes % 60).padStart(2, "0")}m`;
}
