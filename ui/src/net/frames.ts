/**
 * The wire format between a page and the server: one varint of type, then sync bytes, awareness bytes or control JSON.
 * Source: `protocol/document.py` in docs/architecture.md. All types are below 128, so the varint is one byte.
 */

export const SYNC = 0;
export const AWARENESS = 1;
export const CONTROL = 100;
/** A piece of a long frame: one byte that is 1 in the last piece, then bytes of the frame. */
export const PART = 101;

/** Second byte of a sync frame, as y-protocols writes it. */
export const STEP1 = 0;
export const STEP2 = 1;
export const UPDATE = 2;

/** The version of the document protocol that this page speaks. */
export const PROTOCOL = 1;

/** `step1` of an empty document: what a page that has nothing yet may ask before Yjs itself is loaded. */
export const EMPTY_STEP1: Uint8Array = Uint8Array.of(STEP1, 1, 0);

export interface Reply {
  op: "reply";
  id: string;
  error: { code: number | string; message: string } | null;
}

export interface Hello {
  op: "hello";
  protocol: number;
  epoch: string;
  version: string;
  path: string;
  reload: boolean;
}

export type ServerMessage =
  | Hello
  | Reply
  | { op: "ack"; count: number }
  | ({ op: "state" } & Record<string, unknown>)
  | { op: "mark"; n: number }
  | { op: "pong"; t: number };

export type PageMessage = { op: string } & Record<string, unknown>;

export type Frame =
  | { type: "control"; message: ServerMessage }
  | { type: "sync"; payload: Uint8Array }
  | { type: "awareness"; payload: Uint8Array }
  | { type: "unknown" };

/** Puts frames together that come in parts. */
export class Parts {
  private pieces: Uint8Array[] = [];

  /** @returns the whole frame; null while more of it is to come. */
  take(data: Uint8Array): Uint8Array | null {
    if (data[0] !== PART) return data;
    this.pieces.push(data.subarray(2));
    if (data[1] !== 1) return null;
    const frame = new Uint8Array(this.pieces.reduce((size, piece) => size + piece.length, 0));
    let at = 0;
    for (const piece of this.pieces) {
      frame.set(piece, at);
      at += piece.length;
    }
    this.pieces = [];
    return frame;
  }
}

/** Never throws: what cannot be read is `unknown`, and the link goes on without it. */
export function decode(frame: Uint8Array): Frame {
  const payload = frame.subarray(1);
  switch (frame[0]) {
    case SYNC:
      return { type: "sync", payload };
    case AWARENESS:
      return { type: "awareness", payload };
    case CONTROL:
      return control(payload);
    default:
      return { type: "unknown" };
  }
}

function control(payload: Uint8Array): Frame {
  try {
    const message = JSON.parse(new TextDecoder().decode(payload)) as ServerMessage;
    return typeof message?.op === "string" ? { type: "control", message } : { type: "unknown" };
  } catch {
    return { type: "unknown" };
  }
}

export function encodeControl(message: PageMessage): Uint8Array {
  return typed(CONTROL, new TextEncoder().encode(JSON.stringify(message)));
}

/** Puts the type in front of sync or awareness bytes. */
export function typed(type: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(payload.length + 1);
  frame[0] = type;
  frame.set(payload, 1);
  return frame;
}
