/**
 * Which ways a page tries to its document, in which order, and what this browser remembers of what went through.
 *
 * A WebSocket is the best one. Old Apache recipes let WebSockets through below `/api/kernels/` only; some proxies let none
 * through: there Server-Sent Events and POSTs carry the same frames. Pure but for the storage that it is given.
 */

export type Way = "socket" | "kernel-socket" | "events";

const ALL: readonly Way[] = ["socket", "kernel-socket", "events"];

/** Milliseconds that a verdict counts: proxies change, and networks even more often. */
const KEPT: Record<Way, number> = { socket: 0, "kernel-socket": 24 * 3600_000, events: 30 * 60_000 };

interface Verdict {
  way: Way;
  /** Milliseconds since 1970. */
  until: number;
  /** Whether somebody was told that the page does without WebSockets. */
  told: boolean;
}

/** The part of `Storage` that is needed. */
export type Memory = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export class Ways {
  private readonly memory: Memory;
  private readonly key: string;

  /** @param baseUrl of the server that the verdict is about. */
  constructor(memory: Memory, baseUrl: string) {
    this.memory = memory;
    this.key = `homeport.way ${baseUrl}`;
  }

  /** The ways to try, best guess first. @param now milliseconds since 1970. */
  order(now: number): Way[] {
    const verdict = this.verdict();
    if (!verdict || verdict.until < now) return [...ALL];
    return [verdict.way, ...ALL.filter((way) => way !== verdict.way)];
  }

  /** A way has opened. @param failed those that were tried just before, in vain. */
  opened(way: Way, failed: readonly Way[], now: number): void {
    if (way === "socket") this.keep(null);
    else if (failed.includes("socket") || this.verdict()?.way !== way)
      this.keep({ way, until: now + KEPT[way], told: this.verdict()?.told ?? false });
  }

  /** Whether people are to be told now that WebSockets are blocked: once, until a WebSocket has worked again. */
  tell(): boolean {
    const verdict = this.verdict();
    if (verdict?.way !== "events" || verdict.told) return false;
    this.keep({ ...verdict, told: true });
    return true;
  }

  private verdict(): Verdict | null {
    try {
      const verdict = JSON.parse(this.memory.getItem(this.key) ?? "null") as Verdict | null;
      return verdict && ALL.includes(verdict.way) ? verdict : null;
    } catch {
      return null;
    }
  }

  private keep(verdict: Verdict | null): void {
    try {
      if (verdict) this.memory.setItem(this.key, JSON.stringify(verdict));
      else this.memory.removeItem(this.key);
    } catch {
      // A full or forbidden storage: the next page tries all ways again.
    }
  }
}
