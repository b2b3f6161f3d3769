import { describe, expect, it } from "vitest";
import { type Memory, Ways } from "./ways";

function memory(): Memory {
  const items = new Map<string, string>();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  };
}

describe("Ways", () => {
  it("tries the plain socket first", () => {
    expect(new Ways(memory(), "/").order(0)).toEqual(["socket", "kernel-socket", "events"]);
  });

  it("remembers for a while what went through when a socket did not", () => {
    const shared = memory();
    new Ways(shared, "/").opened("events", ["socket", "kernel-socket"], 1_000);
    expect(new Ways(shared, "/").order(2_000)[0]).toBe("events");
    expect(new Ways(shared, "/other/").order(2_000)[0]).toBe("socket");
    expect(new Ways(shared, "/").order(3600_000)[0]).toBe("socket");
  });

  it("does not prolong a verdict by using it", () => {
    const ways = new Ways(memory(), "/");
    ways.opened("events", ["socket", "kernel-socket"], 0);
    ways.opened("events", [], 20 * 60_000);
    expect(ways.order(31 * 60_000)[0]).toBe("socket");
  });

  it("forgets it when a socket opens", () => {
    const ways = new Ways(memory(), "/");
    ways.opened("kernel-socket", ["socket"], 0);
    expect(ways.order(1)).toEqual(["kernel-socket", "socket", "events"]);
    ways.opened("socket", ["kernel-socket"], 1);
    expect(ways.order(2)[0]).toBe("socket");
  });

  it("tells once, and again only after a socket has worked", () => {
    const shared = memory();
    const ways = new Ways(shared, "/");
    expect(ways.tell()).toBe(false);
    ways.opened("events", ["socket", "kernel-socket"], 0);
    expect([ways.tell(), ways.tell(), new Ways(shared, "/").tell()]).toEqual([true, false, false]);
    ways.opened("socket", [], 1);
    ways.opened("events", ["socket", "kernel-socket"], 2);
    expect(ways.tell()).toBe(true);
  });

  it("lives with a storage that is forbidden or holds rubbish", () => {
    const broken: Memory = {
      getItem: () => "{",
      setItem: () => {
        throw new Error("forbidden");
      },
      removeItem: () => {},
    };
    const ways = new Ways(broken, "/");
    ways.opened("events", ["socket"], 0);
    expect(ways.order(1)[0]).toBe("socket");
  });
});
