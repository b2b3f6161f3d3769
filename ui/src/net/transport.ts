/**
 * Carries frames between a page and the server. The link above does not know which transport it has.
 */

export interface TransportEvents {
  opened(): void;
  frame(data: Uint8Array): void;
  /** Called exactly once, also when it never opened and after `close()`. */
  closed(reason: string): void;
}

export interface Transport {
  /** What it is, for people: "WebSocket". */
  readonly name: string;
  /** Frames are delivered in order or the transport closes. Ignored unless open. */
  send(frame: Uint8Array): void;
  close(): void;
}

/** @param url a `ws:` or `wss:` URL with its ticket. */
export function openWebSocket(url: string, events: TransportEvents): Transport {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  let over = false;
  const end = (reason: string): void => {
    if (over) return;
    over = true;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    events.closed(reason);
  };
  socket.onopen = () => events.opened();
  socket.onmessage = (event: MessageEvent) => {
    if (event.data instanceof ArrayBuffer) events.frame(new Uint8Array(event.data));
  };
  socket.onclose = (event) => end(event.reason);
  return {
    name: "WebSocket",
    send(frame) {
      if (socket.readyState === WebSocket.OPEN) socket.send(frame as Uint8Array<ArrayBuffer>);
    },
    close() {
      // A dead link would keep `onclose` waiting for the closing handshake: it is over for us now.
      end("");
      socket.close();
    },
  };
}
