import { createDecoder, readVarUint8Array } from "lib0/decoding";
import { createEncoder, toUint8Array } from "lib0/encoding";
import { describe, expect, it } from "vitest";
import { Awareness, applyAwarenessUpdate } from "y-protocols/awareness";
import { readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync";
import * as Y from "yjs";
import { EMPTY_STEP1, STEP2 } from "../net/frames";
import type { Link, LinkView } from "../net/link";
import { Notebook } from "./notebook";
import { DocumentSync } from "./sync";
import type { AwayCell } from "./unsettled";

/** The far end, in memory: a document that speaks the Yjs protocol. The socket between is tested in a real browser. */
class FarEnd {
  readonly notebook = new Notebook();
  readonly updates: Uint8Array[] = [];
  readonly taken: AwayCell[] = [];
  acknowledge = (): void => {};
  readonly awareness = new Awareness(this.notebook.doc);

  /** What the page needs of its link. */
  get link(): Link {
    return {
      update: (payload: Uint8Array) => {
        this.updates.push(payload);
        this.take(payload);
      },
      observe: (listener: (view: LinkView) => void) => {
        this.acknowledge = () => listener({ status: "online", waiting: 0, reason: "", transport: "" });
        return () => {};
      },
      tellTaken: (cells: AwayCell[]) => this.taken.push(...cells),
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

  it("tells of changes that the server has not acknowledged, with what they were made of", () => {
    const { far, sync } = opened();
    sync.notebook.insert(1, [code("b"), code("c"), code("d")]);
    far.acknowledge();
    const [a, b, c, d] = sync.notebook.cells.map((cell) => cell.id);
    expect(sync.away()).toEqual([]);
    sync.notebook.setSource(b ?? "", "b1");
    sync.notebook.setSource(b ?? "", "b2");
    sync.notebook.move([c ?? ""], -2);
    sync.notebook.remove([d ?? ""]);
    expect(sync.away()).toEqual([
      { id: b, base: "b", text: "b2", type: "code", after: a },
      { id: c, base: "c", text: "c", type: "code", after: "" },
      { id: d, base: "d", text: null, type: "code", after: "" },
    ]);
    far.acknowledge();
    expect(sync.away()).toEqual([]);
    sync.notebook.setSource(b ?? "", "b3");
    expect(sync.away()).toMatchObject([{ id: b, base: "b2", text: "b3" }]);
  });

  it("tells at once when others take a cell away that has changes on their way", () => {
    const { far, sync } = opened();
    const id = sync.notebook.cells[0]?.id ?? "";
    const theirs = Y.encodeStateAsUpdate(far.notebook.doc);
    const other = new Notebook(new Y.Doc());
    Y.applyUpdate(other.doc, theirs);
    sync.notebook.setSource(id, "a, and more");
    other.remove([id]);
    const encoder = createEncoder();
    writeUpdate(encoder, Y.encodeStateAsUpdate(other.doc));
    sync.receive(toUint8Array(encoder));
    expect(far.taken).toMatchObject([{ id, base: "a", text: "a, and more" }]);
    expect(sync.away()).toEqual([]);
  });

  it("follows what others write, as the base of what comes next", () => {
    const { far, sync } = opened();
    const id = sync.notebook.cells[0]?.id ?? "";
    far.notebook.setSource(id, "theirs");
    const encoder = createEncoder();
    writeUpdate(encoder, Y.encodeStateAsUpdate(far.notebook.doc));
    sync.receive(toUint8Array(encoder));
    sync.notebook.setSource(id, "theirs and mine");
    expect(sync.away()).toMatchObject([{ id, base: "theirs", text: "theirs and mine" }]);
  });
});
