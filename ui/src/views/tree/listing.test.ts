import { describe, expect, it } from "vitest";
import type { Entry } from "../../net/jupyter";
import { arrange, crumbs, freeName, nameTrouble, reuse, stemLength, timeAgo } from "./listing";

function entry(name: string, changes: Partial<Entry> = {}): Entry {
  const times = { last_modified: "2026-01-01T00:00:00Z", created: "2026-01-01T00:00:00Z" };
  return { name, path: name, type: "file", size: 1, writable: true, mimetype: null, ...times, ...changes };
}

const names = (entries: Entry[]) => entries.map(({ name }) => name);

describe("arrange", () => {
  const entries = [
    entry("b10", { size: 5, last_modified: "2026-01-03T00:00:00Z" }),
    entry("B9", { size: 50, last_modified: "2026-01-02T00:00:00Z" }),
    entry("a", { size: 500 }),
    entry("z", { type: "directory", size: null }),
  ];

  it.each([
    ["name", false, ["z", "a", "B9", "b10"]],
    ["name", true, ["z", "b10", "B9", "a"]],
    ["modified", true, ["z", "b10", "B9", "a"]],
    ["size", false, ["z", "b10", "B9", "a"]],
  ] as const)("sorts by %s, descending: %s, folders first", (key, descending, expected) => {
    expect(names(arrange(entries, { key, descending }, ""))).toEqual(expected);
  });

  it("filters by a part of the name, whatever the case", () => {
    expect(names(arrange(entries, { key: "name", descending: false }, " b "))).toEqual(["B9", "b10"]);
  });
});

describe("reuse", () => {
  it("keeps the entries that did not change", () => {
    const before = [entry("a"), entry("b")];
    const after = reuse(before, [entry("b", { size: 2 }), entry("a"), entry("c")]);
    expect(after[1]).toBe(before[0]);
    expect(after[0]).not.toBe(before[1]);
    expect(names(after)).toEqual(["b", "a", "c"]);
  });
});

describe("timeAgo", () => {
  const now = Date.parse("2026-06-15T12:00:00Z");
  it.each([
    ["2026-06-15T11:59:30Z", "just now"],
    ["2026-06-15T12:00:20Z", "just now"],
    ["2026-06-15T11:00:00Z", "1 hour ago"],
    ["2026-06-14T11:00:00Z", "yesterday"],
    ["2026-06-01T12:00:00Z", "2 weeks ago"],
    ["2024-01-01T12:00:00Z", "2 years ago"],
    ["nonsense", ""],
  ])("%s is %s", (iso, words) => {
    expect(timeAgo(iso, now)).toBe(words);
  });
});

describe("names", () => {
  const taken = (name: string) => ["a.txt", "a (1).txt", "b"].includes(name);
  it.each([
    ["c.txt", "c.txt"],
    ["a.txt", "a (2).txt"],
    ["b", "b (1)"],
  ])("finds beside %s the free name %s", (name, free) => {
    expect(freeName(name, taken)).toBe(free);
  });

  it.each(["", ".", "..", "a/b", "x".repeat(256), "ä".repeat(128), "b"])("refuses %j with a reason", (name) => {
    expect(nameTrouble(name, taken)).not.toBe("");
  });

  it("accepts other names", () => {
    expect(nameTrouble("Ünïcode 名.ipynb", taken)).toBe("");
  });

  it("selects what comes before the ending", () => {
    expect(stemLength(entry("a.b.ipynb"))).toBe(3);
    expect(stemLength(entry(".profile"))).toBe(8);
    expect(stemLength(entry("v1.2", { type: "directory" }))).toBe(4);
  });
});

describe("crumbs", () => {
  it("names each folder on the way", () => {
    expect(crumbs("a/b c")).toEqual([
      { name: "a", path: "a" },
      { name: "b c", path: "a/b c" },
    ]);
    expect(crumbs("")).toEqual([]);
  });
});
