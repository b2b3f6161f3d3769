import { createDecoder, readVarUint8Array } from "lib0/decoding";
import { createEncoder, toUint8Array } from "lib0/encoding";
import { describe, expect, it } from "vitest";
import { Awareness, applyAwarenessUpdate } from "y-protocols/awareness";
import { readSyncMessage, writeSyncStep1 } from "y-protocols/sync";
import { EMPTY_STEP1, STEP2 } from "../net/frames";
import type { Link } from "../net/link";
import { Notebook } from "./notebook";
import { DocumentSync } from "./sync";

/** The far end, in memory: a document that speaks the Yjs protocol. The socket between is tested in a real browser. */
class FarEnd {
  readonly notebook = new Notebook();
  readonly updates: Uint8Array[] = [];
  readonly awareness = new Awareness(this.notebook.doc);

  /** What the page needs of its link. */
  get link(): Link {
    return {
      update: (payload: Uint8Array) => {
        this.updates.push(payload);
        this.take(payload);
      },
      sendAwareness: (payload: Uint8Array) =>
        applyAwarenessUpdate(this.awareness, readVarUint8Array(createDecoder(payload)), "page"),
    } as unknown as Link;
  }

  take(payload: Uint8Array): Uint8Array {
    const encoder = createEncoder();
    readSyncMessage(createDecoder(payload), encoder, this.notebook.doc, "page");
    return toUint8Array(encoder);
  }

  step1(): Uint8Array {
    const encoder = createEncoder();
    writeSyncStep1(encoder, this.notebook.doc);
    return toUint8Array(encoder);
  }
}

function code(source: string) {
  return { cell_type: "code" as const, source, metadata: {} };
}

function opened(): { far: FarEnd; sync: DocumentSync } {
  const far = new FarEnd();
  far.notebook.insert(0, [code("a")]);
  const sync = new DocumentSync(far.link, { name: "Ada", color: "#000000" });
  sync.adopt("one");
  sync.receive(far.take(sync.step1()));
  return { far, sync };
}

describe("DocumentSync", () => {
  it("asks for everything with the constant that is sent before it is there", () => {
    const sync = new DocumentSync(new FarEnd().link, { name: "Ada", color: "#000000" });
    expect(sync.step1()).toEqual(EMPTY_STEP1);
  });

  it("loads what the server has, and sends what was done meanwhile as one step2", () => {
    const { far, sync } = opened();
    expect(sync.loaded).toBe(true);
    expect(sync.notebook.cells.map((cell) => cell.source)).toEqual(["a"]);
    sync.notebook.insert(1, [code("b")]);
    const answer = sync.receive(far.step1());
    expect(answer?.[0]).toBe(STEP2);
    far.take(answer ?? new Uint8Array());
    expect(far.notebook.cells.map((cell) => cell.source)).toEqual(["a", "b"]);
  });

  it("hands local changes to the link, and not those that came over it", () => {
    const { far, sync } = opened();
    const received = far.updates.length;
    expect(received).toBe(0);
    sync.notebook.insert(1, [code("b")]);
    expect(far.updates).toHaveLength(1);
    expect(far.notebook.length).toBe(2);
  });

  it("starts afresh after a drop, with nothing of the old history", () => {
    const { sync } = opened();
    const old = sync.notebook;
    let told = 0;
    sync.observe(() => {
      told += 1;
    });
    sync.drop();
    expect(sync.epoch).toBeNull();
    expect(sync.loaded).toBe(false);
    expect(sync.notebook).not.toBe(old);
    expect(sync.step1()).toEqual(EMPTY_STEP1);
    const other = new FarEnd();
    other.notebook.insert(0, [code("fresh")]);
    sync.adopt("two");
    sync.receive(other.take(sync.step1()));
    expect(sync.notebook.cells.map((cell) => cell.source)).toEqual(["fresh"]);
    expect(told).toBe(2);
  });

  it("says who we are as JupyterLab does", () => {
    const { far, sync } = opened();
    sync.announce();
    const states = [...far.awareness.getStates().values()].filter((state) => state.user);
    expect(states).toMatchObject([{ user: { name: "Ada", display_name: "Ada", color: "#000000" } }]);
  });
});
