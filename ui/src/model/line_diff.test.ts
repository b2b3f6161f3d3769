import { expect, it } from "vitest";
import { lineDiff } from "./line_diff";

const shown = (before: string, after: string): string[] =>
  lineDiff(before, after).map(({ kind, text }) => ({ same: " ", removed: "-", added: "+" })[kind] + text);

it("shows what went and what came", () => {
  expect(shown("a\nb\nc", "a\nx\nc\nd")).toEqual([" a", "-b", "+x", " c", "+d"]);
  expect(shown("", "a")).toEqual(["-", "+a"]);
  expect(shown("a\nb", "a\nb")).toEqual([" a", " b"]);
  expect(shown("a\na", "a")).toEqual([" a", "-a"]);
});

it("keeps every line of both sides", () => {
  const before = Array.from({ length: 3000 }, (_, i) => `old ${i % 7}`).join("\n");
  const after = Array.from({ length: 2000 }, (_, i) => `new ${i % 5}`).join("\n");
  const lines = lineDiff(before, after);
  const side = (kind: string) => lines.filter((line) => line.kind !== kind).map((line) => line.text);
  expect(side("added").join("\n")).toBe(before);
  expect(side("removed").join("\n")).toBe(after);
});
