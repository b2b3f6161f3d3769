/**
 * The link of a page to its document on the server: tickets, the socket, frames, requests and their answers.
 * What to do when is decided in `link_state.ts`; what the document says is the business of a {@link SyncSide}.
 *
 * The link starts before Yjs is loaded: a page that has nothing yet asks for everything with a constant, and what comes is
 * kept until a SyncSide is attached. This saves a round trip and the download of the editor at the first opening.
 */
import { openEvents } from "./event_transport";
import {
  AWARENESS,
  decode,
  EMPTY_STEP1,
  encodeControl,
  type Hello,
  type PageMessage,
  Parts,
  PROTOCOL,
  type ServerMessage,
  STEP1,
  STEP2,
  SYNC,
  typed,
} from "./frames";
import { type LinkCommand, type LinkEvent, LinkState } from "./link_state";
import { RestError, rest } from "./rest";
import { openWebSocket, type Transport, type TransportEvents } from "./transport";
import { type Memory, type Way, Ways } from "./ways";

/** The document's end of the link. All byte arrays are y-protocols payloads without the frame type. */
export interface SyncSide {
  /** Epoch of the history that the document holds; null while it is empty. */
  readonly epoch: string | null;
  /** The server's document has this epoch; called while the own is null. */
  adopt(epoch: string): void;
  /** Makes an empty document without epoch. */
  drop(): void;
  step1(): Uint8Array;
  /** @returns the answer to a step1, else null. */
  receive(payload: Uint8Array): Uint8Array | null;
  receiveAwareness(payload: Uint8Array): void;
  /** Changed cells that the server may not have, as its `away` op wants them: told before each step2. */
  away(): readonly object[];
  /** The link has opened: send, through {@link Link.sendAwareness}, what others are to see of this page. */
  announce(): void;
}

export type LinkStatus = "connecting" | "online" | "reconnecting" | "offline" | "stopped";

export interface LinkView {
  status: LinkStatus;
  /** Changes that the server has not yet made durable. */
  waiting: number;
  /** Why it is not online, when the server said so. */
  reason: string;
  /** What carries it: "WebSocket", "HTTP" where WebSockets are refused; empty before the first one opened. */
  transport: string;
}

/** A request that the server answered with an error. */
export class RequestError extends Error {
  readonly code: number | string;
  constructor(message: string, code: number | string) {
    super(message);
    this.name = "RequestError";
    this.code = code;
  }
}

export interface LinkOptions {
  baseUrl: string;
  path: string;
  /** Ticket for the first socket; undefined: asked for. */
  ticket?: string | undefined;
  /** Names this page to the server, as long as it lives. */
  client: string;
}

const SOCKETS = { socket: "api/documents/socket", "kernel-socket": "api/kernels/documents/socket" };

/** Milliseconds: a proxy that neither lets a WebSocket through nor refuses it is given up after this. */
const SOCKET_WITHIN = 5_000;
/** Milliseconds on HTTP after which a WebSocket is tried again beside it; doubled up to the last. */
const FIRST_PROBE = 20_000;
const LAST_PROBE = 600_000;

export class Link {
  private readonly state = new LinkState();
  private readonly options: LinkOptions;
  private transport: Transport | null = null;
  /** Grows with each attempt: what an older one still says is not heard. */
  private generation = 0;
  private ticket: string | undefined;
  private readonly ways: Ways;
  private carriedBy = "";
  private probeTimer: ReturnType<typeof setTimeout> | undefined;
  private probeAfter = FIRST_PROBE;
  private side: SyncSide | null = null;
  private early: Uint8Array[] = [];
  private askedEarly = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly answers = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  private readonly listeners = new Set<(view: LinkView) => void>();
  private readonly stateListeners = new Set<(state: Record<string, unknown>) => void>();
  private serverState: Record<string, unknown> = {};
  private shown = "";
  path: string;

  constructor(options: LinkOptions) {
    this.options = options;
    this.path = options.path;
    this.ticket = options.ticket;
    this.ways = new Ways(storage(), options.baseUrl);
  }

  get view(): LinkView {
    const { phase, waiting, reason, attempt, seen } = this.state;
    let status: LinkStatus = "connecting";
    if (phase === "online") status = "online";
    else if (phase === "stopped") status = "stopped";
    else if (attempt > 1) status = "offline";
    else if (seen) status = "reconnecting";
    return { status, waiting, reason, transport: this.carriedBy };
  }

  start(): void {
    this.handle({ type: "start" });
    addEventListener("online", this.wake);
    addEventListener("online", this.networkChanged);
    addEventListener("focus", this.wake);
    addEventListener("pageshow", this.wake);
    document.addEventListener("visibilitychange", this.wake);
  }

  stop(): void {
    clearTimeout(this.probeTimer);
    removeEventListener("online", this.networkChanged);
    removeEventListener("online", this.wake);
    removeEventListener("focus", this.wake);
    removeEventListener("pageshow", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.handle({ type: "stop" });
  }

  /** Gives the link its document; what arrived before is delivered now. */
  attach(side: SyncSide): void {
    this.side = side;
    const early = this.early;
    this.early = [];
    for (const frame of early) this.receive(frame);
  }

  /** A change made on this page; sent now or carried by the next sync. @param payload a y-protocols `update`. */
  update(payload: Uint8Array): void {
    this.handle({ type: "changed" }, payload);
  }

  sendAwareness(payload: Uint8Array): void {
    if (this.state.phase === "online") this.transport?.send(typed(AWARENESS, payload));
  }

  /** Somebody moved or deleted cells in which this page has changes that may not have arrived in time. */
  tellTaken(cells: readonly object[]): void {
    if (this.state.phase === "online") this.transport?.send(encodeControl({ op: "away", now: true, cells }));
  }

  /**
   * Asks the server for something; resolves when it was done. Survives cuts: sent again until answered, done once.
   * @throws RequestError when the server says no.
   */
  request(message: PageMessage): Promise<void> {
    const id = newId();
    const promise = new Promise<void>((resolve, reject) => this.answers.set(id, { resolve, reject }));
    this.handle({ type: "request", id, message: { ...message, id } });
    return promise;
  }

  /** Calls back now and at each change. @returns how to end it. */
  observe(listener: (view: LinkView) => void): () => void {
    this.listeners.add(listener);
    listener(this.view);
    return () => this.listeners.delete(listener);
  }

  /** Calls back with the state keys known so far and then with each set of changed ones. */
  observeState(listener: (state: Record<string, unknown>) => void): () => void {
    this.stateListeners.add(listener);
    listener(this.serverState);
    return () => this.stateListeners.delete(listener);
  }

  /** Try again now, also after the server refused the page (after a login in another tab). */
  retry(): void {
    if (this.state.phase === "stopped") {
      this.state.phase = "idle";
      this.handle({ type: "start" });
    } else this.handle({ type: "wake" });
  }

  private readonly wake = (): void => {
    if (document.visibilityState !== "hidden") this.handle({ type: "wake" });
  };

  private handle(event: LinkEvent, update?: Uint8Array): void {
    const before = this.state.phase;
    for (const command of this.state.handle(event, performance.now())) this.perform(command, update);
    if (before !== this.state.phase && this.state.phase === "waiting") this.transport = null;
    this.schedule();
    this.tell();
  }

  private perform(command: LinkCommand, update: Uint8Array | undefined): void {
    switch (command.type) {
      case "connect":
        void this.connect();
        break;
      case "disconnect":
        this.generation += 1;
        this.transport?.close();
        this.transport = null;
        break;
      case "send":
        this.transport?.send(encodeControl(command.message));
        break;
      case "send-update":
        if (update) this.transport?.send(typed(SYNC, update));
        break;
    }
  }

  private schedule(): void {
    clearTimeout(this.timer);
    const at = this.state.wakeAt;
    if (at === Number.POSITIVE_INFINITY) return;
    this.timer = setTimeout(
      () => this.handle({ type: "tick", random: Math.random() }),
      Math.max(0, at - performance.now()),
    );
  }

  private tell(): void {
    const view = this.view;
    const shown = JSON.stringify(view);
    if (shown === this.shown) return;
    this.shown = shown;
    for (const listener of this.listeners) listener(view);
  }

  private async connect(): Promise<void> {
    this.generation += 1;
    const generation = this.generation;
    const ticket = await this.takeTicket(generation);
    if (ticket === undefined || generation !== this.generation) return;
    this.tryWay(generation, ticket, this.ways.order(Date.now()), 0);
  }

  /** Tries one way after the other until one opens; only when none does, the attempt has failed. */
  private tryWay(generation: number, ticket: string, order: readonly Way[], index: number): void {
    const way = order[index] ?? "socket";
    let opened = false;
    const parts = new Parts();
    const current = (): boolean => generation === this.generation;
    const patience =
      way === "events" ? undefined : setTimeout(() => !opened && current() && transport.close(), SOCKET_WITHIN);
    const transport = this.open(way, ticket, {
      opened: () => {
        if (!current()) return;
        opened = true;
        this.handle({ type: "opened" });
        this.carried(way, order.slice(0, index));
        this.askEarly();
      },
      frame: (data) => {
        if (!current()) return;
        this.handle({ type: "heard" });
        const frame = parts.take(data);
        if (frame) this.receive(frame);
      },
      closed: (reason) => {
        clearTimeout(patience);
        if (!current()) return;
        this.early = [];
        if (!opened && index + 1 < order.length) {
          this.handle({ type: "rerouted" });
          this.tryWay(generation, ticket, order, index + 1);
        } else this.handle({ type: "closed", random: Math.random(), reason });
      },
    });
    this.transport = transport;
  }

  private open(way: Way, ticket: string, events: TransportEvents): Transport {
    if (way !== "events") return openWebSocket(this.url(way, ticket), events);
    return openEvents({ baseUrl: this.options.baseUrl, path: this.path, ticket, channel: newId() }, events);
  }

  private carried(way: Way, failed: readonly Way[]): void {
    this.ways.opened(way, failed, Date.now());
    this.carriedBy = this.transport?.name ?? "";
    if (way === "events") this.probeLater();
    else this.probeAfter = FIRST_PROBE;
    this.tell();
  }

  /** Whether people are to be told now that WebSockets are blocked here: once for a browser and server. */
  tellBlocked(): boolean {
    return this.ways.tell();
  }

  private readonly networkChanged = (): void => {
    this.probeAfter = FIRST_PROBE;
    if (this.carriedBy === "HTTP") this.probeLater();
  };

  private probeLater(): void {
    clearTimeout(this.probeTimer);
    this.probeTimer = setTimeout(() => void this.probe(), this.probeAfter * (0.75 + Math.random() / 2));
    this.probeAfter = Math.min(LAST_PROBE, this.probeAfter * 2);
  }

  /** On HTTP: looks whether a WebSocket gets through by now, and if so goes over to it. */
  private async probe(): Promise<void> {
    if (this.carriedBy !== "HTTP" || this.state.phase !== "online") return;
    this.probeLater();
    if (document.visibilityState === "hidden") return;
    try {
      const ticket = await this.askTicket();
      for (const way of ["socket", "kernel-socket"] as const) {
        if (!(await opens(this.url(way, ticket)))) continue;
        this.ways.opened(way, way === "socket" ? [] : ["socket"], Date.now());
        this.handle({ type: "switch" });
        return;
      }
    } catch {
      // The link itself will notice what is wrong.
    }
  }

  /** @returns undefined when there is none and the state has been told. */
  private async takeTicket(generation: number): Promise<string | undefined> {
    const first = this.ticket;
    this.ticket = undefined;
    if (first) return first;
    try {
      return await this.askTicket();
    } catch (error) {
      if (generation !== this.generation) return undefined;
      const { status, message } = error instanceof RestError ? error : { status: 0, message: "" };
      if (status === 401 || status === 403) this.handle({ type: "refused", reason: message });
      else this.handle({ type: "closed", random: Math.random(), reason: status ? message : "" });
      return undefined;
    }
  }

  private async askTicket(): Promise<string> {
    const body = { path: this.path };
    return (await rest(this.options.baseUrl).send<{ ticket: string }>("POST", "api/documents/ticket", body)).ticket;
  }

  private url(way: keyof typeof SOCKETS, ticket: string): string {
    const url = new URL(this.options.baseUrl + SOCKETS[way], location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("path", this.path);
    url.searchParams.set("ticket", ticket);
    return url.href;
  }

  /** At the very first opening the page has nothing: it need not wait for the server's hello to say so. */
  private askEarly(): void {
    this.askedEarly = this.side === null || this.side.epoch === null;
    if (this.askedEarly) this.greet(null, EMPTY_STEP1);
  }

  private greet(epoch: string | null, step1: Uint8Array): void {
    const { client } = this.options;
    this.transport?.send(encodeControl({ op: "hello", protocol: PROTOCOL, epoch, client, marks: true }));
    this.transport?.send(typed(SYNC, step1));
  }

  private receive(data: Uint8Array): void {
    const frame = decode(data);
    if (frame.type === "control" && frame.message.op !== "hello") this.control(frame.message);
    else if (!this.side) this.early.push(data);
    else if (frame.type === "control") this.control(frame.message);
    else if (frame.type === "sync") this.sync(this.side, frame.payload);
    else if (frame.type === "awareness") this.side.receiveAwareness(frame.payload);
  }

  private sync(side: SyncSide, payload: Uint8Array): void {
    const answer = side.receive(payload);
    if (payload[0] !== STEP1 || answer?.[0] !== STEP2) return;
    const cells = side.away();
    if (cells.length > 0) this.transport?.send(encodeControl({ op: "away", cells }));
    this.transport?.send(typed(SYNC, answer));
    this.handle({ type: "synced" });
    side.announce();
  }

  private control(message: ServerMessage): void {
    switch (message.op) {
      case "hello":
        this.hello(message);
        break;
      case "ack":
        this.handle({ type: "ack", count: message.count });
        break;
      case "reply":
        this.answered(message.id, message.error);
        break;
      case "state": {
        const { op: _, ...state } = message;
        this.tellState(state);
        break;
      }
      case "mark":
        this.transport?.send(encodeControl({ op: "marked", n: message.n }));
        break;
      case "pong":
        break;
    }
  }

  private tellState(state: Record<string, unknown>): void {
    this.serverState = { ...this.serverState, ...state };
    for (const listener of this.stateListeners) listener(state);
  }

  /**
   * A server of another epoch first asks for what this page holds, merges it, and then says `reload`: only then the local
   * document may go.
   */
  private hello(message: Hello): void {
    const side = this.side;
    if (!side) return;
    this.tellState({ path: message.path });
    if (message.reload) {
      side.drop();
      this.handle({ type: "dropped" });
      return;
    }
    if (!this.askedEarly) this.greet(side.epoch, side.step1());
    this.askedEarly = false;
    if (side.epoch === null) side.adopt(message.epoch);
  }

  private answered(id: string, error: { code: number | string; message: string } | null): void {
    this.handle({ type: "reply", id });
    const answer = this.answers.get(id);
    this.answers.delete(id);
    if (error) answer?.reject(new RequestError(error.message, error.code));
    else answer?.resolve();
  }
}

/** Whether a WebSocket opens there. */
function opens(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = openWebSocket(url, {
      opened: () => {
        resolve(true);
        socket.close();
      },
      frame: () => {},
      closed: () => resolve(false),
    });
    setTimeout(() => socket.close(), SOCKET_WITHIN);
  });
}

/** The browser's memory; where it is forbidden, one that forgets with the page. */
function storage(): Memory {
  try {
    return localStorage;
  } catch {
    const items = new Map<string, string>();
    return {
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => void items.set(key, value),
      removeItem: (key) => void items.delete(key),
    };
  }
}

/** A random UUID (version 4), also where `crypto.randomUUID` is missing: plain http on another host. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
