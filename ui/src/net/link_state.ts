/**
 * The life of one link between a page and the server, without any socket, timer or clock: `handle(event, at)` changes the
 * state and returns what to do. {@link Link} in `link.ts` does it.
 *
 * It decides when to connect again, when a link is dead, what is sent again after a cut, and how many changes wait.
 */
import type { PageMessage } from "./frames";

/** Milliseconds. */
export const PING_EVERY = 3_000;
/** A ping unanswered for so long means a dead link; with {@link PING_EVERY} a cut is seen within 10 s, on a slow machine too. */
export const PONG_WITHIN = 5_000;
/** After the machine woke or the network changed we are less patient. */
export const PONG_WITHIN_AFTER_WAKE = 2_000;
/** An attempt that neither opens nor fails is given up. */
export const OPEN_WITHIN = 12_000;
const FIRST_DELAY = 300;
const DELAY_CAP = 5_000;
/** After about two minutes of trying we ask less often. */
const PATIENT_AFTER = 24;
const PATIENT_CAP = 15_000;

export type Phase = "idle" | "connecting" | "greeting" | "online" | "waiting" | "stopped";

export type LinkEvent =
  | { type: "start" }
  | { type: "opened" }
  /** Anything arrived: the link lives. */
  | { type: "heard" }
  /** Our step2, which holds every change made so far, was handed to the transport. */
  | { type: "synced" }
  | { type: "changed" }
  /** So many sync frames of this link are durable, counted from its opening. */
  | { type: "ack"; count: number }
  | { type: "request"; id: string; message: PageMessage }
  | { type: "reply"; id: string }
  /** One way to the server does not open, another one is tried. */
  | { type: "rerouted" }
  /** A better way to the server has been found: take it. */
  | { type: "switch" }
  | { type: "closed"; random: number; reason?: string }
  | { type: "tick"; random: number }
  /** The browser is online, visible or focused again. */
  | { type: "wake" }
  /** The server will not have this page (logged out): retrying by itself would only fill its log. */
  | { type: "refused"; reason: string }
  /** The local document was dropped, after the server had taken what it held: start afresh on a new link. */
  | { type: "dropped" }
  | { type: "stop" };

export type LinkCommand =
  /** `attempt` counts from 0 since the link was last online: it chooses the address to try. */
  | { type: "connect"; attempt: number }
  | { type: "disconnect" }
  /** Send the update that caused the `changed` event. */
  | { type: "send-update" }
  | { type: "send"; message: PageMessage };

export class LinkState {
  phase: Phase = "idle";
  /** Failed attempts since the link was last online. */
  attempt = 0;
  /** Whether it was ever online. */
  seen = false;
  /** Why it is not online; empty when unknown. */
  reason = "";
  /** Changes not in any frame of this link yet. */
  private held = 0;
  /** Changes per sync frame that was sent and not acknowledged, oldest first. */
  private inFlight: number[] = [];
  private acknowledged = 0;
  private synced = false;
  private readonly requests = new Map<string, PageMessage>();
  private pingAt = Number.POSITIVE_INFINITY;
  private deadline = Number.POSITIVE_INFINITY;
  private retryAt = Number.POSITIVE_INFINITY;

  /** Changes that the server has not said to be durable. */
  get waiting(): number {
    return this.inFlight.reduce((sum, count) => sum + count, this.held);
  }

  /** Requests without an answer. */
  get unanswered(): number {
    return this.requests.size;
  }

  /** When the next `tick` is wanted (same clock as `at`), or infinity. */
  get wakeAt(): number {
    return Math.min(this.pingAt, this.deadline, this.retryAt);
  }

  handle(event: LinkEvent, at: number): LinkCommand[] {
    switch (event.type) {
      case "start":
        return this.phase === "idle" ? this.connect(at) : [];
      case "opened":
        return this.opened(at);
      case "heard":
        return this.heard(at);
      case "synced":
        return this.becomeSynced();
      case "changed":
        return this.changed();
      case "ack":
        return this.ack(event.count);
      case "request":
        this.requests.set(event.id, event.message);
        return this.synced ? [{ type: "send", message: event.message }] : [];
      case "reply":
        this.requests.delete(event.id);
        return [];
      case "rerouted":
        if (this.phase === "connecting") this.deadline = at + OPEN_WITHIN;
        return [];
      case "switch":
        return this.phase === "online" ? [{ type: "disconnect" }, ...this.connect(at)] : [];
      case "closed":
        return this.closed(event.random, at, event.reason ?? "");
      case "tick":
        return this.tick(event.random, at);
      case "wake":
        return this.wake(at);
      case "refused":
        this.forgetLink();
        this.phase = "stopped";
        this.reason = event.reason;
        return [];
      case "dropped":
        this.held = 0;
        this.inFlight = [];
        return [{ type: "disconnect" }, ...this.connect(at)];
      case "stop":
        this.forgetLink();
        this.phase = "stopped";
        return [{ type: "disconnect" }];
    }
  }

  /** @throws Error when the state contradicts itself; called after each step in tests. */
  check(): void {
    const open = this.phase === "greeting" || this.phase === "online";
    if (this.synced !== (this.phase === "online")) throw new Error(`synced ${this.synced} while ${this.phase}`);
    if (!open && this.inFlight.length > 0) throw new Error("frames in flight on no link");
    if (this.phase === "waiting" && this.retryAt === Number.POSITIVE_INFINITY) throw new Error("nothing would retry");
    if (this.phase !== "waiting" && this.retryAt !== Number.POSITIVE_INFINITY)
      throw new Error("a retry while not waiting");
    if (open && this.pingAt === Number.POSITIVE_INFINITY) throw new Error("an open link without pings");
    if (this.phase === "connecting" && this.deadline === Number.POSITIVE_INFINITY)
      throw new Error("connects without end");
    if (this.held < 0 || this.waiting < 0) throw new Error("negative count of changes");
  }

  private connect(at: number): LinkCommand[] {
    this.forgetLink();
    this.phase = "connecting";
    this.deadline = at + OPEN_WITHIN;
    return [{ type: "connect", attempt: this.attempt }];
  }

  private opened(at: number): LinkCommand[] {
    if (this.phase !== "connecting") return [];
    this.phase = "greeting";
    this.pingAt = at + PING_EVERY;
    this.deadline = at + OPEN_WITHIN;
    return [];
  }

  private heard(at: number): LinkCommand[] {
    if (this.phase !== "greeting" && this.phase !== "online") return [];
    this.pingAt = at + PING_EVERY;
    this.deadline = this.phase === "online" ? Number.POSITIVE_INFINITY : at + OPEN_WITHIN;
    return [];
  }

  private becomeSynced(): LinkCommand[] {
    if (this.phase !== "greeting" && this.phase !== "online") return [];
    this.inFlight.push(this.held);
    this.held = 0;
    if (this.synced) return [];
    this.synced = true;
    this.seen = true;
    this.phase = "online";
    this.attempt = 0;
    this.reason = "";
    this.deadline = Number.POSITIVE_INFINITY;
    return [...this.requests.values()].map((message) => ({ type: "send", message }));
  }

  private changed(): LinkCommand[] {
    if (!this.synced) {
      this.held += 1;
      return [];
    }
    this.inFlight.push(1);
    return [{ type: "send-update" }];
  }

  private ack(count: number): LinkCommand[] {
    while (this.acknowledged < count && this.inFlight.length > 0) {
      this.inFlight.shift();
      this.acknowledged += 1;
    }
    return [];
  }

  private closed(random: number, at: number, reason: string): LinkCommand[] {
    if (this.phase === "stopped" || this.phase === "waiting" || this.phase === "idle") return [];
    this.forgetLink();
    this.phase = "waiting";
    this.reason = reason;
    const cap = this.attempt < PATIENT_AFTER ? DELAY_CAP : PATIENT_CAP;
    const delay = Math.min(cap, FIRST_DELAY * 2 ** Math.min(this.attempt, 10));
    this.retryAt = at + delay * (0.5 + random / 2);
    this.attempt += 1;
    return [];
  }

  private tick(random: number, at: number): LinkCommand[] {
    if (at >= this.retryAt) return this.connect(at);
    if (at >= this.deadline) return [{ type: "disconnect" }, ...this.closed(random, at, "The server does not answer.")];
    if (at >= this.pingAt) return this.ping(at, PONG_WITHIN);
    return [];
  }

  private wake(at: number): LinkCommand[] {
    if (this.phase === "waiting") return this.connect(at);
    if (this.phase === "online") return this.ping(at, PONG_WITHIN_AFTER_WAKE);
    return [];
  }

  private ping(at: number, within: number): LinkCommand[] {
    this.pingAt = at + PING_EVERY;
    this.deadline = Math.min(this.deadline, at + within);
    return [{ type: "send", message: { op: "ping", t: at } }];
  }

  /** What was sent and not acknowledged waits again: the next step2 carries it. */
  private forgetLink(): void {
    this.held = this.waiting;
    this.inFlight = [];
    this.acknowledged = 0;
    this.synced = false;
    this.pingAt = this.deadline = this.retryAt = Number.POSITIVE_INFINITY;
  }
}
