import { expect, test } from "vitest";
import { findMatches } from "./find";

const cells = [
  { type: "markdown", source: "# Über alles (x)", outputs: [] },
  {
    type: "code",
    source: "x = 1\nX += x",
    outputs: [{ output_type: "stream", name: "stdout", text: "\u001b[31mer\u001b[0m\u001b[Kror" }],
  },
] as const;
const find = (wanted: string) => findMatches(cells as never, wanted);

test("sources are searched in order, whatever the case", () => {
  expect(find("x")).toEqual([
    { index: 0, range: { from: 14, to: 15 } },
    { index: 1, range: { from: 0, to: 1 } },
    { index: 1, range: { from: 6, to: 7 } },
    { index: 1, range: { from: 11, to: 12 } },
  ]);
  expect(find("ÜBER")).toEqual([{ index: 0, range: { from: 2, to: 6 } }]);
});

test("letters that mean something in patterns are themselves", () => {
  expect(find("(x)")).toHaveLength(1);
  expect(find("x.")).toHaveLength(0);
});

test("outputs are searched without what is for terminals in them", () => {
  expect(find("error")).toEqual([{ index: 1, range: null }]);
  expect(find("")).toEqual([]);
});
