/**
 * The document's end of the link: the Yjs sync and awareness protocols over the frames that `net/link.ts` carries.
 *
 * When the server says that its document is of another epoch, the local one is dropped and a fresh one is made: two histories
 * are never united. Whoever shows the document is told through {@link DocumentSync.observe}.
 */
import { createDecoder, readVarUint8Array } from "lib0/decoding";
import { createEncoder, length, toUint8Array, writeVarUint8Array } from "lib0/encoding";
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from "y-protocols/awareness";
import { readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync";
import { STEP2 } from "../net/frames";
import type { Link, SyncSide } from "../net/link";
import { Notebook } from "./notebook";
import { type AwayCell, UnsettledCells } from "./unsettled";

export interface User {
  name: string;
  color: string;
}

export class DocumentSync implements SyncSide {
  epoch: string | null = null;
  notebook: Notebook;
  awarenessState: Awareness;
  /** Whether the server's state has arrived. */
  loaded = false;
  private unsettled: UnsettledCells;
  private readonly link: Link;
  private readonly user: User;
  private readonly listeners = new Set<() => void>();

  constructor(link: Link, user: User) {
    this.link = link;
    this.user = user;
    this.notebook = new Notebook();
    this.unsettled = this.watch(this.notebook);
    this.awarenessState = this.prepare(this.notebook);
    link.observe(({ waiting }) => {
      if (waiting === 0) this.unsettled.settle();
    });
  }

  /** Called when the document has loaded, and when another one took its place. */
  observe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  adopt(epoch: string): void {
    this.epoch = epoch;
  }

  step1(): Uint8Array {
    const encoder = createEncoder();
    writeSyncStep1(encoder, this.notebook.doc);
    return toUint8Array(encoder);
  }

  receive(payload: Uint8Array): Uint8Array | null {
    const encoder = createEncoder();
    // A frame that Yjs cannot read is a bug worth seeing; the link goes on.
    const type = readSyncMessage(createDecoder(payload), encoder, this.notebook.doc, this, (error) =>
      console.error(error),
    );
    if (type === STEP2 && !this.loaded) {
      this.loaded = true;
      this.tell();
    }
    return length(encoder) > 0 ? toUint8Array(encoder) : null;
  }

  receiveAwareness(payload: Uint8Array): void {
    applyAwarenessUpdate(this.awarenessState, readVarUint8Array(createDecoder(payload)), this);
  }

  away(): AwayCell[] {
    return this.unsettled.report();
  }

  announce(): void {
    // The server has told others that we were gone, at the clock that we had: setting the state anew raises the clock.
    this.awarenessState.setLocalState(this.awarenessState.getLocalState());
  }

  drop(): void {
    this.epoch = null;
    removeAwarenessStates(this.awarenessState, [...this.awarenessState.getStates().keys()], this);
    this.awarenessState.destroy();
    this.notebook.doc.destroy();
    this.notebook = new Notebook();
    this.unsettled = this.watch(this.notebook);
    this.awarenessState = this.prepare(this.notebook);
    this.loaded = false;
    this.tell();
  }

  private watch(notebook: Notebook): UnsettledCells {
    return new UnsettledCells(
      notebook,
      (origin) => origin === this,
      (cells) => this.link.tellTaken(cells),
    );
  }

  private prepare(notebook: Notebook): Awareness {
    notebook.doc.on("update", (update: Uint8Array, origin: unknown) => {
      if (origin === this) return;
      const encoder = createEncoder();
      writeUpdate(encoder, update);
      this.link.update(toUint8Array(encoder));
    });
    const awareness = new Awareness(notebook.doc);
    awareness.setLocalStateField("user", {
      ...this.user,
      username: this.user.name,
      display_name: this.user.name,
      initials: this.user.name.slice(0, 2).toUpperCase(),
    });
    awareness.on("update", (changes: { added: number[]; updated: number[]; removed: number[] }, origin: unknown) => {
      if (origin === this) return;
      this.link.sendAwareness(this.awarenessPayload([...changes.added, ...changes.updated, ...changes.removed]));
    });
    return awareness;
  }

  private awarenessPayload(clients: number[]): Uint8Array {
    const encoder = createEncoder();
    writeVarUint8Array(encoder, encodeAwarenessUpdate(this.awarenessState, clients));
    return toUint8Array(encoder);
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}
