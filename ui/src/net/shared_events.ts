/**
 * The browser's one stream of events, shared by its tabs: over HTTP/1.1 a browser opens six connections to a server, and a
 * stream for each tab would leave none for anything else.
 *
 * The tab that holds a Web Lock leads: it holds the stream and passes events on through a BroadcastChannel. When it goes, the
 * next one gets the lock, and all channels begin anew. Where there are no Web Locks (plain http on another host), or the leader
 * does not answer, a tab opens a stream of its own. The format is `protocol/document_events.py`.
 */

/** Milliseconds that a tab waits for the leader to have a stream before it opens its own. */
const LEADER_WITHIN = 4_000;

export interface Receiver {
  /** `kind` and `body` of an event of this channel. */
  event(kind: string, body: string): void;
  /** The stream is gone; nothing follows. */
  lost(reason: string): void;
}

/** What the tabs say to each other. */
type Note =
  /** A new leader: whatever stream there was is gone. */
  | { type: "leads" }
  | { type: "wanted"; url: string }
  | { type: "open"; stream: string }
  /** `stream` is empty when it could not be opened. */
  | { type: "lost"; stream: string }
  | { type: "event"; channel: string; kind: string; body: string };

/** One connection that events come from. */
class Source {
  stream = "";
  private readonly source: EventSource;

  constructor(url: string, heard: (channel: string, kind: string, body: string) => void, lost: () => void) {
    this.source = new EventSource(url);
    this.source.onmessage = (message: MessageEvent<string>) => {
      const [channel = "", kind = "", body = ""] = split(message.data);
      if (kind === "o") this.stream = body;
      heard(channel, kind, body);
    };
    // It would connect again with an old ticket: whoever wants the stream asks for a new one.
    this.source.onerror = () => {
      this.close();
      lost();
    };
  }

  close(): void {
    this.source.onmessage = this.source.onerror = null;
    this.source.close();
  }
}

interface Attached extends Receiver {
  /** The stream that it is on; empty while it waits for one. */
  stream: string;
  /** Its address, with a ticket that is good for a minute. */
  url: string;
  opened(stream: string): void;
  own: Source | null;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** A tab's part in it. */
export class SharedEvents {
  private readonly attached = new Map<string, Attached>();
  private readonly name: string;
  private notes: BroadcastChannel | null = null;
  private source: Source | null = null;
  private leads = false;
  private resign: () => void = () => {};

  /** @param name of the election: one per server. */
  constructor(name: string) {
    this.name = name;
  }

  /**
   * Takes part until {@link detach}.
   * @param url of the stream, with a fresh ticket.
   * @param opened told once that a stream is open, with its id; what `receiver` hears comes later.
   */
  attach(channel: string, url: string, receiver: Receiver, opened: (stream: string) => void): void {
    const entry: Attached = {
      stream: "",
      url,
      opened,
      own: null,
      timer: undefined,
      event: (kind, body) => receiver.event(kind, body),
      lost: (reason) => receiver.lost(reason),
    };
    this.attached.set(channel, entry);
    if (!navigator.locks || typeof BroadcastChannel === "undefined") {
      this.openOwn(channel, entry);
      return;
    }
    entry.timer = setTimeout(() => this.openOwn(channel, entry), LEADER_WITHIN);
    this.join();
    if (this.leads) this.lead(url);
    else this.notes?.postMessage({ type: "wanted", url } satisfies Note);
  }

  detach(channel: string): void {
    const entry = this.attached.get(channel);
    if (!entry) return;
    this.attached.delete(channel);
    clearTimeout(entry.timer);
    entry.own?.close();
    if (this.attached.size === 0) this.leave();
  }

  private openOwn(channel: string, entry: Attached): void {
    if (entry.stream) return;
    entry.own = new Source(
      entry.url,
      (to, kind, body) => {
        if (kind === "o") this.open(entry, body);
        else if (to === channel) entry.event(kind, body);
      },
      () => entry.lost(""),
    );
  }

  /** The channels of this tab that are on the shared stream, or wait for it. */
  private shared(): Attached[] {
    return [...this.attached.values()].filter((entry) => !entry.own);
  }

  private open(entry: Attached, stream: string): void {
    if (entry.stream) return;
    clearTimeout(entry.timer);
    entry.stream = stream;
    entry.opened(stream);
  }

  private join(): void {
    if (this.notes) return;
    this.notes = new BroadcastChannel(this.name);
    this.notes.onmessage = (message: MessageEvent<Note>) => this.hear(message.data);
    const abort = new AbortController();
    const held = new Promise<void>((resolve) => {
      this.resign = () => {
        abort.abort();
        resolve();
      };
    });
    navigator.locks
      .request(this.name, { signal: abort.signal }, () => {
        if (abort.signal.aborted) return;
        this.leads = true;
        this.note({ type: "leads" });
        return held;
      })
      .catch(() => {}); // given up while it waited
  }

  private leave(): void {
    const stream = this.source?.stream;
    this.source?.close();
    this.source = null;
    if (this.leads && stream) this.notes?.postMessage({ type: "lost", stream } satisfies Note);
    this.leads = false;
    this.notes?.close();
    this.notes = null;
    this.resign();
  }

  /** As the leader: there is a stream, or there will be one. */
  private lead(url: string): void {
    if (this.source) {
      if (this.source.stream) this.note({ type: "open", stream: this.source.stream });
      return;
    }
    const source = new Source(
      url,
      (channel, kind, body) => {
        if (kind === "o") this.note({ type: "open", stream: body });
        else this.note({ type: "event", channel, kind, body });
      },
      () => {
        this.source = null;
        this.note({ type: "lost", stream: source.stream });
      },
    );
    this.source = source;
  }

  /** Says it to all tabs, this one included. */
  private note(note: Note): void {
    if (note.type !== "event" || !this.attached.has(note.channel)) this.notes?.postMessage(note);
    this.hear(note);
  }

  private hear(note: Note): void {
    switch (note.type) {
      case "wanted":
        if (this.leads) this.lead(note.url);
        break;
      case "open":
        for (const entry of this.shared()) this.open(entry, note.stream);
        break;
      case "leads":
        for (const entry of this.shared()) {
          if (entry.stream) entry.lost("");
          else if (this.leads) this.lead(entry.url);
          else this.notes?.postMessage({ type: "wanted", url: entry.url } satisfies Note);
        }
        break;
      case "lost":
        for (const entry of this.shared()) if (entry.stream === note.stream) entry.lost("");
        break;
      case "event": {
        const entry = this.attached.get(note.channel);
        if (entry && !entry.own) entry.event(note.kind, note.body);
        break;
      }
    }
  }
}

/** Channel, kind and the rest, which may hold spaces. */
function split(data: string): [string, string, string] {
  const first = data.indexOf(" ");
  const second = data.indexOf(" ", first + 1);
  return [data.slice(0, first), data.slice(first + 1, second), data.slice(second + 1)];
}
