import { describe, expect, it } from "vitest";
import { type QueueEntry, ServerState, saveWords } from "./server_state";

describe("saveWords", () => {
  const calm = { waiting: 0, online: true, running: false };

  it("says that an edit is being saved, and when it is", () => {
    expect(saveWords("unsaved", { ...calm, waiting: 1 })).toBe("Saving…");
    expect(saveWords("saving", calm)).toBe("Saving…");
    expect(saveWords("saved", calm)).toBe("Saved");
  });

  it("is calm while cells run and while the link is down", () => {
    expect(saveWords("unsaved", { ...calm, running: true })).toBe("Saved");
    expect(saveWords("saving", { ...calm, online: false })).toBe("Saved");
  });

  it("does not call saved what is not", () => {
    expect(saveWords("saved", { ...calm, waiting: 2, online: false })).toBe("Not saved yet");
    expect(saveWords("failed", { ...calm, running: true })).toBe("Not saved");
  });
});

describe("the queue", () => {
  const entry = (cell: string, state: QueueEntry["state"]): QueueEntry => ({ run: `run ${cell}`, cell, state, at: 0 });

  it("goes on at its head without being sent whole", () => {
    const server = new ServerState();
    server.merge({ queue: [entry("a", "running"), entry("b", "queued"), entry("c", "queued")] });
    server.merge({ queue_moved: { gone: 1, first: entry("b", "running") } });
    expect(server.queue.value.map((one) => `${one.cell} ${one.state}`)).toEqual(["b running", "c queued"]);
    server.merge({ queue: [] });
    expect(server.queue.value).toEqual([]);
  });
});
