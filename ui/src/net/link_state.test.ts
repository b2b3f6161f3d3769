import { describe, expect, it } from "vitest";
import { type LinkCommand, type LinkEvent, LinkState } from "./link_state";

/** Drives a link through its events, with `check()` after each step. */
class Drive {
  readonly state = new LinkState();
  at = 0;

  step(event: LinkEvent): LinkCommand[] {
    const commands = this.state.handle(event, this.at);
    this.state.check();
    return commands;
  }

  online(): this {
    this.step({ type: "start" });
    this.step({ type: "opened" });
    this.step({ type: "heard" });
    this.step({ type: "synced" });
    this.step({ type: "ack", count: 1 });
    return this;
  }

  /** Goes to the next timer and returns what it asks for. */
  timer(): LinkCommand[] {
    expect(this.state.wakeAt).toBeLessThan(Number.POSITIVE_INFINITY);
    this.at = Math.max(this.at, this.state.wakeAt);
    return this.step({ type: "tick", random: 0.5 });
  }
}

describe("waiting changes", () => {
  it("are what the server has not acknowledged", () => {
    const drive = new Drive().online();
    expect(drive.step({ type: "changed" })).toEqual([{ type: "send-update" }]);
    drive.step({ type: "changed" });
    expect(drive.state.waiting).toBe(2);
    drive.step({ type: "ack", count: 2 });
    expect(drive.state.waiting).toBe(1);
    drive.step({ type: "ack", count: 3 });
    expect(drive.state.waiting).toBe(0);
  });

  it("survive a cut and go with the next sync, once", () => {
    const drive = new Drive().online();
    drive.step({ type: "changed" });
    drive.step({ type: "closed", random: 0 });
    expect(drive.step({ type: "changed" })).toEqual([]);
    expect(drive.state.waiting).toBe(2);
    expect(drive.timer()).toEqual([{ type: "connect", attempt: 1 }]);
    drive.step({ type: "opened" });
    drive.step({ type: "changed" });
    drive.step({ type: "synced" });
    expect(drive.state.waiting).toBe(3);
    drive.step({ type: "ack", count: 1 });
    expect(drive.state.waiting).toBe(0);
  });

  it("are gone with a dropped document, which starts afresh on a new link", () => {
    const drive = new Drive().online();
    drive.step({ type: "changed" });
    expect(drive.step({ type: "dropped" })).toEqual([{ type: "disconnect" }, { type: "connect", attempt: 0 }]);
    expect(drive.state.waiting).toBe(0);
    drive.step({ type: "opened" });
    drive.step({ type: "synced" });
    drive.step({ type: "changed" });
    drive.step({ type: "ack", count: 2 });
    expect(drive.state.waiting).toBe(0);
  });
});

describe("requests", () => {
  const message = { op: "run", id: "a" };

  it("wait for the sync, so that the server has the text that is to run", () => {
    const drive = new Drive();
    drive.step({ type: "start" });
    drive.step({ type: "opened" });
    expect(drive.step({ type: "request", id: "a", message })).toEqual([]);
    expect(drive.step({ type: "synced" })).toEqual([{ type: "send", message }]);
  });

  it("are sent again after a cut until they are answered", () => {
    const drive = new Drive().online();
    expect(drive.step({ type: "request", id: "a", message })).toEqual([{ type: "send", message }]);
    drive.step({ type: "closed", random: 0 });
    drive.timer();
    drive.step({ type: "opened" });
    expect(drive.step({ type: "synced" })).toEqual([{ type: "send", message }]);
    drive.step({ type: "reply", id: "a" });
    drive.step({ type: "closed", random: 0 });
    drive.timer();
    drive.step({ type: "opened" });
    expect(drive.step({ type: "synced" })).toEqual([]);
  });
});

describe("a dead link", () => {
  it("is noticed within 10 seconds of silence", () => {
    const drive = new Drive().online();
    const silent = drive.at;
    expect(drive.timer()).toMatchObject([{ type: "send", message: { op: "ping" } }]);
    let commands: LinkCommand[] = [];
    while (drive.state.phase === "online") commands = drive.timer();
    expect(commands).toEqual([{ type: "disconnect" }]);
    expect(drive.at - silent).toBeLessThanOrEqual(10_000);
  });

  it("is not seen where only this page slept", () => {
    const drive = new Drive().online();
    drive.timer();
    drive.step({ type: "heard" });
    drive.at += 60_000;
    expect(drive.step({ type: "tick", random: 0 })).toMatchObject([{ type: "send" }]);
    expect(drive.state.phase).toBe("online");
  });

  it("is asked for at once after waking", () => {
    const drive = new Drive().online();
    expect(drive.step({ type: "wake" })).toMatchObject([{ type: "send", message: { op: "ping" } }]);
    const start = drive.at;
    while (drive.state.phase === "online") drive.timer();
    expect(drive.at - start).toBeLessThanOrEqual(2_000);
  });
});

describe("reconnecting", () => {
  it("goes on for ever, at most 15 seconds apart", () => {
    const drive = new Drive().online();
    drive.step({ type: "closed", random: 1 });
    let longest = 0;
    for (let i = 0; i < 1_000; i++) {
      const before = drive.at;
      expect(drive.timer()).toEqual([{ type: "connect", attempt: i + 1 }]);
      longest = Math.max(longest, drive.at - before);
      drive.step({ type: "closed", random: 1 });
    }
    expect(longest).toBe(15_000);
  });

  it("does not wait once the browser is online again", () => {
    const drive = new Drive().online();
    drive.step({ type: "closed", random: 1 });
    expect(drive.step({ type: "wake" })).toMatchObject([{ type: "connect" }]);
  });

  it("gives up an attempt that hangs", () => {
    const drive = new Drive();
    drive.step({ type: "start" });
    expect(drive.timer()).toEqual([{ type: "disconnect" }]);
    expect(drive.timer()).toMatchObject([{ type: "connect" }]);
  });

  it("gives each way to the server its time", () => {
    const drive = new Drive();
    drive.step({ type: "start" });
    drive.at += 10_000;
    expect(drive.step({ type: "rerouted" })).toEqual([]);
    drive.at += 10_000;
    expect(drive.step({ type: "tick", random: 0 })).toEqual([]);
    expect(drive.state.phase).toBe("connecting");
  });

  it("takes a better way at once, and what was not acknowledged along", () => {
    const drive = new Drive().online();
    drive.step({ type: "changed" });
    expect(drive.step({ type: "switch" })).toEqual([{ type: "disconnect" }, { type: "connect", attempt: 0 }]);
    expect(drive.state.waiting).toBe(1);
  });

  it("stops when the server refuses the page", () => {
    const drive = new Drive().online();
    drive.step({ type: "closed", random: 0 });
    drive.timer();
    drive.step({ type: "refused", reason: "Log in again." });
    expect(drive.state.wakeAt).toBe(Number.POSITIVE_INFINITY);
    expect(drive.state.reason).toBe("Log in again.");
  });
});

it("never contradicts itself, whatever comes in whatever order", () => {
  let seed = 1;
  const random = (): number => {
    seed = (seed * 48271) % 2147483647;
    return seed / 2147483647;
  };
  const make: (() => LinkEvent)[] = [
    () => ({ type: "start" }),
    () => ({ type: "opened" }),
    () => ({ type: "heard" }),
    () => ({ type: "synced" }),
    () => ({ type: "changed" }),
    () => ({ type: "ack", count: Math.floor(random() * 5) }),
    () => ({ type: "request", id: `r${Math.floor(random() * 9)}`, message: { op: "save" } }),
    () => ({ type: "reply", id: `r${Math.floor(random() * 9)}` }),
    () => ({ type: "closed", random: random() }),
    () => ({ type: "tick", random: random() }),
    () => ({ type: "wake" }),
    () => ({ type: "rerouted" }),
    () => ({ type: "switch" }),
  ];
  for (let run = 0; run < 200; run++) {
    const drive = new Drive();
    let made = 0;
    for (let i = 0; i < 100; i++) {
      drive.at += random() * 3_000;
      const event = (make[Math.floor(random() * make.length)] ?? make[0])?.();
      if (!event) continue;
      if (event.type === "changed") made += 1;
      drive.step(event);
      expect(drive.state.waiting).toBeLessThanOrEqual(made);
    }
  }
});
