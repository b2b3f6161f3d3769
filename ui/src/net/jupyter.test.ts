// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { jupyter, parentOf } from "./jupyter";
import type { Rest } from "./rest";

interface Call {
  method: string;
  path: string;
  body: { chunk?: number; content?: string; format?: string };
}

/** Keeps what it is asked; answers with nothing. */
function recorder(answer: unknown = {}): { rest: Rest; calls: Call[] } {
  const calls: Call[] = [];
  const record = (method: string, path: string, body?: unknown) => {
    calls.push({ method, path, body: (body ?? {}) as Call["body"] });
    return Promise.resolve(answer as never);
  };
  return {
    calls,
    rest: { get: (path) => record("GET", path), send: (method, path, body) => record(method, path, body) },
  };
}

async function uploaded(size: number): Promise<{ calls: Call[]; progress: number[]; whole: string; sent: string }> {
  const { rest, calls } = recorder();
  const bytes = Uint8Array.from({ length: size }, (_, index) => index % 251);
  const progress: number[] = [];
  await jupyter(rest).upload("a b/c.bin", new Blob([bytes]), new AbortController().signal, (done) =>
    progress.push(done),
  );
  const latin = (part: Uint8Array) => Buffer.from(part).toString("latin1");
  return {
    calls,
    progress,
    whole: latin(bytes),
    sent: calls.map((call) => Buffer.from(call.body.content ?? "", "base64").toString("latin1")).join(""),
  };
}

describe("upload", () => {
  it("sends a small file whole", async () => {
    const { calls, whole, sent } = await uploaded(10);
    expect(calls.map((call) => [call.method, call.path, call.body.chunk])).toEqual([
      ["PUT", "api/contents/a%20b/c.bin", undefined],
    ]);
    expect(sent).toBe(whole);
  });

  it("sends an empty file", async () => {
    expect((await uploaded(0)).calls).toHaveLength(1);
  });

  it("sends a large one in numbered pieces, the last one numbered -1", async () => {
    const { calls, progress, whole, sent } = await uploaded(1_000_000);
    const numbers = calls.map((call) => call.body.chunk);
    expect(numbers.at(-1)).toBe(-1);
    expect(numbers.slice(0, -1)).toEqual(numbers.slice(0, -1).map((_, index) => index + 1));
    expect(progress.at(-1)).toBe(1_000_000);
    expect(sent === whole).toBe(true);
  });

  it("stops when told to", async () => {
    const { rest, calls } = recorder();
    const abort = new AbortController();
    const file = new Blob([new Uint8Array(2_000_000)]);
    await expect(jupyter(rest).upload("f", file, abort.signal, () => abort.abort())).rejects.toThrow();
    expect(calls).toHaveLength(1);
  });
});

describe("listFolder", () => {
  it("knows a broken link, which Jupyter's model calls a file", async () => {
    const { rest } = recorder({
      content: [
        { name: "x", type: "file", broken: "Broken link" },
        { name: "y", type: "file" },
      ],
    });
    expect((await jupyter(rest).listFolder("")).map((entry) => entry.type)).toEqual(["broken", "file"]);
  });
});

describe("createNotebook", () => {
  it("writes the kernel into the new notebook", async () => {
    const { rest, calls } = recorder({ path: "d/Untitled.ipynb" });
    await jupyter(rest).createNotebook("d", { name: "ir", spec: { display_name: "R", language: "R" }, resources: {} });
    expect(calls.map((call) => [call.method, call.path])).toEqual([
      ["POST", "api/contents/d"],
      ["PUT", "api/contents/d/Untitled.ipynb"],
    ]);
    expect(calls[1]?.body.content).toMatchObject({ metadata: { kernelspec: { name: "ir" } }, nbformat: 4 });
  });
});

describe("parentOf", () => {
  it.each([
    ["a/b/c", "a/b"],
    ["a", ""],
    ["", ""],
  ])("%j lies in %j", (path, parent) => expect(parentOf(path)).toBe(parent));
});
