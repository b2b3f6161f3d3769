import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import type { Cell } from "./cell";
import { type Change, conflictOf, Notebook } from "./notebook";
import type { CellJson } from "./schema";

function code(source: string, extra: Partial<CellJson> = {}): CellJson {
  return { cell_type: "code", source, metadata: {}, outputs: [], execution_count: null, ...extra };
}

function sources(notebook: Notebook): string[] {
  return notebook.cells.map((cell) => cell.source);
}

function id(notebook: Notebook, index: number): string {
  return notebook.cells[index]?.id ?? "";
}

function outputsOf(cell: Cell | undefined): Y.Array<Y.Map<unknown>> {
  const outputs = cell?.shared.get("outputs");
  if (!(outputs instanceof Y.Array)) throw new Error("no outputs");
  return outputs;
}

function three(): Notebook {
  const notebook = new Notebook();
  notebook.insert(0, [code("a"), code("b"), code("c")]);
  return notebook;
}

describe("cell operations", () => {
  it("insert gives fresh valid ids, also to pasted cells", () => {
    const notebook = new Notebook();
    const [first] = notebook.insert(0, [code("a", { id: "same" })], true);
    expect(first).toBe("same");
    notebook.insert(1, [code("b", { id: "same" }), code("c", { id: "not valid!" })], true);
    const ids = notebook.cells.map((cell) => cell.id);
    expect(new Set(ids).size).toBe(3);
    for (const made of ids) expect(made).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });

  it("move keeps ids, outputs and metadata", () => {
    const notebook = three();
    notebook.insert(3, [
      code("d", {
        outputs: [{ output_type: "stream", name: "stdout", text: "hi\n" }],
        execution_count: 4,
        metadata: { tags: ["x"] },
      }),
    ]);
    const moved = id(notebook, 3);
    notebook.move([moved], -2);
    expect(sources(notebook)).toEqual(["a", "d", "b", "c"]);
    expect(notebook.cells[1]?.toJson()).toMatchObject({
      id: moved,
      execution_count: 4,
      metadata: { tags: ["x"] },
      outputs: [{ output_type: "stream", name: "stdout", text: "hi\n" }],
    });
    notebook.move([id(notebook, 0), id(notebook, 1)], 9);
    expect(sources(notebook)).toEqual(["b", "c", "a", "d"]);
  });

  it("split leaves the last part its id, and merge puts it together", () => {
    const notebook = new Notebook();
    const [only] = notebook.insert(0, [code("one\ntwo\nthree")]);
    const parts = notebook.split(only ?? "", [4, 8]);
    expect(sources(notebook)).toEqual(["one", "two", "three"]);
    expect(parts.at(-1)).toBe(only);
    notebook.merge(parts);
    expect(sources(notebook)).toEqual(["one\n\ntwo\n\nthree"]);
    notebook.undo();
    notebook.undo();
    expect(sources(notebook)).toEqual(["one\ntwo\nthree"]);
  });

  it("split leaves no empty lines at the cuts, and those elsewhere", () => {
    const notebook = new Notebook();
    const [only] = notebook.insert(0, [code("\n\none\n\n\ntwo\n\n")]);
    expect(notebook.split(only ?? "", [6]).at(-1)).toBe(only);
    expect(sources(notebook)).toEqual(["\n\none", "two\n\n"]);
  });

  it("split at an end leaves an empty cell on that side", () => {
    for (const [at, wanted] of [
      [0, ["", "one"]],
      [3, ["one", ""]],
    ] as const) {
      const notebook = new Notebook();
      const [only] = notebook.insert(0, [code("one")]);
      const parts = notebook.split(only ?? "", [at]);
      expect(sources(notebook)).toEqual(wanted);
      expect(parts).toEqual([id(notebook, 0), id(notebook, 1)]);
      expect(parts.indexOf(only ?? "")).toBe(wanted.indexOf("one"));
    }
  });

  it("a moved cell takes along what nobody knows", () => {
    const notebook = three();
    notebook.cells[0]?.shared.set("unknown", { of: [1] });
    notebook.cells[0]?.shared.set("attachments", { "a.png": {} });
    notebook.move([id(notebook, 0)], 1);
    expect(notebook.cells[1]?.shared.get("unknown")).toEqual({ of: [1] });
    expect(notebook.cells[1]?.shared.get("attachments")).toEqual({ "a.png": {} });
  });

  it("changeType keeps id and text and drops outputs", () => {
    const notebook = three();
    const first = id(notebook, 0);
    notebook.changeType([first], "markdown");
    expect(notebook.cells[0]?.toJson()).toEqual({ id: first, cell_type: "markdown", source: "a", metadata: {} });
  });

  it("setHidden writes what JupyterLab reads, and leaves nothing behind", () => {
    const notebook = three();
    const first = id(notebook, 0);
    notebook.setHidden([first], "outputs", true);
    expect(notebook.cells[0]?.metadata).toEqual({ jupyter: { outputs_hidden: true } });
    notebook.setHidden([first], "outputs", false);
    expect(notebook.cells[0]?.metadata).toEqual({});
  });

  it("setSource changes only what differs", () => {
    const notebook = three();
    const text = notebook.cells[0]?.text;
    notebook.setSource(id(notebook, 0), "print(1)");
    let delta: unknown;
    text?.observe((event) => {
      delta = event.delta;
    });
    notebook.setSource(id(notebook, 0), "print(12)");
    expect(delta).toEqual([{ retain: 7 }, { insert: "2" }]);
  });
});

describe("undo", () => {
  it("takes back operations one by one, and not what others did", () => {
    const notebook = three();
    const other = new Y.Doc();
    Y.applyUpdate(other, Y.encodeStateAsUpdate(notebook.doc));
    notebook.remove([id(notebook, 1)]);
    other.transact(() => new Notebook(other).insert(3, [code("theirs")]));
    Y.applyUpdate(notebook.doc, Y.encodeStateAsUpdate(other), "remote");
    expect(sources(notebook)).toEqual(["a", "c", "theirs"]);
    notebook.undo();
    expect(sources(notebook)).toEqual(["a", "b", "c", "theirs"]);
    notebook.redo();
    expect(sources(notebook)).toEqual(["a", "c", "theirs"]);
  });

  it("brings a deleted cell back whole: id, outputs, stream text", () => {
    const notebook = three();
    notebook.insert(0, [
      code("x", { outputs: [{ output_type: "stream", name: "stdout", text: "line\n" }], execution_count: 1 }),
    ]);
    const before = notebook.cells[0]?.toJson();
    notebook.remove([id(notebook, 0)]);
    notebook.undo();
    expect(notebook.cells[0]?.toJson()).toEqual(before);
  });

  it("does not touch outputs that arrived in between", () => {
    const notebook = three();
    const first = id(notebook, 0);
    notebook.move([first], 1);
    const outputs = outputsOf(notebook.find(first));
    notebook.doc.transact(() => outputs.push([new Y.Map<unknown>([["output_type", "stream"]])]), "server");
    notebook.insert(0, [code("new")]);
    notebook.undo();
    expect(notebook.find(first)?.outputs).toHaveLength(1);
  });

  it("does not bring cleared outputs back", () => {
    const notebook = new Notebook();
    notebook.insert(0, [code("x", { outputs: [{ output_type: "stream", name: "stdout", text: "line" }] })]);
    notebook.clearOutputs([id(notebook, 0)]);
    notebook.undo();
    notebook.redo();
    expect(notebook.cells[0]?.outputs).toEqual([]);
  });
});

describe("changes", () => {
  it("name the cell and the aspect", () => {
    const notebook = three();
    const changes: Change[] = [];
    notebook.observe((change) => changes.push(change));
    const cell = notebook.cells[1];
    cell?.text?.insert(0, "x");
    cell?.shared.set("execution_count", 3);
    outputsOf(cell).push([new Y.Map<unknown>([["output_type", "stream"]])]);
    expect(
      changes.map((change) => [...change.cells.entries()].map(([at, aspects]) => [at.source, ...aspects])),
    ).toEqual([[["xb", "source"]], [["xb", "execution"]], [["xb", "outputs"]]]);
    expect(changes.every((change) => !change.structure)).toBe(true);
    notebook.remove([id(notebook, 0)]);
    expect(changes.at(-1)?.structure).toBe(true);
  });

  it("keep unchanged outputs identical, and renew a stream whose text grew", () => {
    const notebook = new Notebook();
    const stream = { output_type: "stream", name: "stdout", text: "a" };
    notebook.insert(0, [code("x", { outputs: [{ output_type: "display_data", data: {}, metadata: {} }, stream] })]);
    const cell = notebook.cells[0];
    const before = cell?.outputs ?? [];
    const shared = outputsOf(cell).get(1);
    (shared.get("text") as Y.Text).insert(1, "b");
    const after = cell?.outputs ?? [];
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toEqual({ ...stream, text: "ab" });
  });
});

it("reads integers that pycrdt wrote as BigInt", () => {
  const notebook = three();
  notebook.cells[0]?.shared.set("execution_count", 7n);
  expect(notebook.cells[0]?.executionCount).toBe(7);
  expect(JSON.stringify(notebook.cells[0]?.toJson())).toContain('"execution_count":7');
});

describe("conflict copies", () => {
  function conflicting(): Notebook {
    const notebook = new Notebook();
    notebook.insert(
      0,
      [
        code("mine", { id: "cell" }),
        code("theirs", { id: "copy", metadata: { homeport: { conflict: { cell: "cell" } } } }),
      ],
      true,
    );
    return notebook;
  }

  it("are found by their metadata", () => {
    expect(conflicting().cells.map(conflictOf)).toEqual([null, "cell"]);
  });

  it("go when mine is kept, and give their text when theirs is", () => {
    const mine = conflicting();
    mine.settleConflict("copy", "mine");
    expect(sources(mine)).toEqual(["mine"]);
    const theirs = conflicting();
    theirs.settleConflict("copy", "theirs");
    expect(sources(theirs)).toEqual(["theirs"]);
    expect(theirs.cells[0]?.id).toBe("cell");
    theirs.undo();
    expect(sources(theirs)).toEqual(["mine", "theirs"]);
  });

  it("give their outputs when theirs is kept", () => {
    const notebook = new Notebook();
    const output = { output_type: "stream", name: "stdout", text: "theirs" };
    const mark = { homeport: { conflict: { cell: "cell" } }, tags: ["kept"] };
    notebook.insert(
      0,
      [
        code("same", { id: "cell" }),
        code("same", { id: "copy", metadata: mark, outputs: [output], execution_count: 4 }),
      ],
      true,
    );
    notebook.settleConflict("copy", "theirs");
    expect(notebook.cells.map((cell) => cell.toJson())).toEqual([
      expect.objectContaining({
        id: "cell",
        source: "same",
        outputs: [output],
        execution_count: 4,
        metadata: { tags: ["kept"] },
      }),
    ]);
  });
});
