/**
 * The transport for where WebSockets are refused: events down (`shared_events.ts`), numbered POSTs up, one in flight.
 * The same frames as over a WebSocket; the server's side is `web/document_events.py`.
 */
import { xsrfToken } from "./rest";
import { SharedEvents } from "./shared_events";
import type { Transport, TransportEvents } from "./transport";

/** Bytes of one POST: below every proxy's usual limit. */
const PIECE = 256 * 1024;
/** Milliseconds; a POST that takes longer is sent again under its number. */
const POST_WITHIN = 15_000;
/** Statuses that may pass: what proxies answer for a server that is away. */
const PASSING = [429, 502, 503, 504];
const RETRY_FIRST = 200;
const RETRY_LAST = 2_000;

let shared: SharedEvents | undefined;

export interface EventsAddress {
  baseUrl: string;
  /** The notebook's API path. */
  path: string;
  ticket: string;
  /** A fresh name for this link. */
  channel: string;
}

export function openEvents(address: EventsAddress, events: TransportEvents): Transport {
  const { baseUrl, channel, path } = address;
  shared ??= new SharedEvents(`homeport.events ${baseUrl}`);
  const tabs = shared;
  let over = false;
  let up: Upstream | null = null;
  const end = (reason: string): void => {
    if (over) return;
    over = true;
    removeEventListener("pagehide", leave);
    tabs.detach(channel);
    up?.stop();
    events.closed(reason);
  };
  const leave = (): void => end("");
  addEventListener("pagehide", leave);
  // In order, also when some frames have to be inflated; nothing before the channel is known to be open.
  let began = (): void => {};
  let tail = new Promise<void>((resolve) => {
    began = resolve;
  });
  const event = (kind: string, body: string): void => {
    tail = tail
      .then(() => (over ? undefined : received(kind, body)))
      .catch((error: unknown) => end(error instanceof Error ? error.message : ""));
  };
  const received = async (kind: string, body: string): Promise<void> => {
    if (kind === "x") end(JSON.parse(body) as string);
    else if (kind === "f") events.frame(bytesOf(body));
    else if (kind === "z") {
      const frame = await inflated(bytesOf(body));
      if (!over) events.frame(frame);
    }
  };
  const url = `${baseUrl}api/documents/events?ticket=${encodeURIComponent(address.ticket)}`;
  tabs.attach(channel, url, { event, lost: end }, (stream) => {
    if (over) return;
    up = new Upstream(`${baseUrl}api/documents/events/${stream}/${channel}`, end);
    up.open({ path, packed: typeof DecompressionStream !== "undefined" }, () => {
      if (over) return;
      events.opened();
      began();
    });
  });
  return { name: "HTTP", send: (frame) => up?.send(frame), close: leave };
}

/** Sends frames as one sequence of bytes in numbered pieces: what is sent again counts once. */
class Upstream {
  private readonly url: string;
  private readonly failed: (reason: string) => void;
  private readonly abort = new AbortController();
  private readonly waiting: Uint8Array[] = [];
  private number = 0;
  private sending = false;

  constructor(url: string, failed: (reason: string) => void) {
    this.url = url;
    this.failed = failed;
  }

  open(opening: object, done: () => void): void {
    this.sending = true;
    void this.post(JSON.stringify(opening)).then((there) => {
      this.sending = false;
      if (!there) return;
      done();
      void this.pump();
    });
  }

  send(frame: Uint8Array): void {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, frame.length);
    this.waiting.push(length, frame);
    void this.pump();
  }

  stop(): void {
    const opened = this.number > 0 || this.sending;
    this.abort.abort();
    if (!opened) return;
    const init = { method: "DELETE", headers: { "X-XSRFToken": xsrfToken() }, keepalive: true };
    fetch(this.url, init).catch(() => {}); // the server notices by itself, later
  }

  private async pump(): Promise<void> {
    if (this.sending || this.number === 0) return;
    this.sending = true;
    while (this.waiting.length > 0 && (await this.post(this.piece())));
    this.sending = false;
  }

  private piece(): Blob {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    while (size < PIECE) {
      const part = this.waiting.shift() as Uint8Array<ArrayBuffer> | undefined;
      if (!part) break;
      const fits = part.subarray(0, PIECE - size);
      if (fits.length < part.length) this.waiting.unshift(part.subarray(fits.length));
      parts.push(fits);
      size += fits.length;
    }
    return new Blob(parts);
  }

  /** @returns whether the server has it; if not, the channel is over. */
  private async post(body: string | Blob): Promise<boolean> {
    const url = `${this.url}?number=${this.number}`;
    for (let delay = RETRY_FIRST; !this.abort.signal.aborted; delay = Math.min(RETRY_LAST, delay * 2)) {
      const response = await this.attempt(url, body);
      if (response?.ok) {
        this.number += 1;
        return true;
      }
      if (response && !PASSING.includes(response.status)) {
        this.failed(await reasonOf(response));
        return false;
      }
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
    return false;
  }

  private async attempt(url: string, body: string | Blob): Promise<Response | null> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), POST_WITHIN);
    const giveUp = (): void => timeout.abort();
    this.abort.signal.addEventListener("abort", giveUp);
    try {
      const headers = { "X-XSRFToken": xsrfToken(), "Content-Type": "application/octet-stream" };
      const init: RequestInit = { method: "POST", headers, body, signal: timeout.signal, cache: "no-store" };
      return await fetch(url, init);
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
      this.abort.signal.removeEventListener("abort", giveUp);
    }
  }
}

async function reasonOf(response: Response): Promise<string> {
  try {
    const { message } = (await response.json()) as { message?: string };
    return message ?? "";
  } catch {
    return "";
  }
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
  return bytes;
}

async function inflated(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
