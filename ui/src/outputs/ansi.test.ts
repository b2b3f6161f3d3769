// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { overwritten, PLAIN, parseAnsi } from "./ansi";
import { appendRuns } from "./ansi_dom";

const ESC = "\u001b";

function html(text: string): string {
  const place = document.createElement("div");
  appendRuns(place, parseAnsi(text).runs);
  return place.innerHTML;
}

describe("parseAnsi", () => {
  it("reads colours, styles and their end", () => {
    const { runs } = parseAnsi(`a${ESC}[1;31mred${ESC}[0m b`);
    expect(runs.map((run) => run.text)).toEqual(["a", "red", " b"]);
    expect(runs[1]?.style).toMatchObject({ bold: true, fg: 1 });
    expect(runs[2]?.style).toBe(PLAIN);
  });

  it.each([
    ["[91m", { fg: 9 }],
    ["[104m", { bg: 12 }],
    ["[38;5;11m", { fg: 11 }],
    ["[38;5;196m", { fg: "rgb(255, 0, 0)" }],
    ["[48;5;244m", { bg: "rgb(128, 128, 128)" }],
    ["[38;2;1;2;3m", { fg: "rgb(1, 2, 3)" }],
    ["[38:2:1:2:3m", { fg: "rgb(1, 2, 3)" }],
    ["[38;2;1;2;999;4m", { fg: null, underline: true }],
    ["[4;9;7m", { underline: true, strike: true, inverse: true }],
  ])("ESC%s sets %o", (code, style) => {
    expect(parseAnsi(ESC + code).style).toMatchObject(style);
  });

  it("takes out what is not about looks", () => {
    expect(parseAnsi(`a${ESC}[2Kb${ESC}[?25lc${ESC}(Bd\u0007e${ESC}]0;title\u0007f`).runs).toEqual([
      { text: "abcdef", style: PLAIN },
    ]);
  });

  it("knows hyperlinks of the web only", () => {
    expect(html(`${ESC}]8;;https://example.org/${ESC}\\docs${ESC}]8;;${ESC}\\`)).toBe(
      '<a href="https://example.org/" target="_blank" rel="noopener noreferrer">docs</a>',
    );
    expect(html(`${ESC}]8;;javascript:alert(1)${ESC}\\docs`)).toBe("docs");
  });

  it("gives the same runs however the text is cut", () => {
    const text = `one ${ESC}[32mtwo ${ESC}[38;5;200mthree\n${ESC}]8;;http://a.b/${ESC}\\link${ESC}]8;;${ESC}\\ four${ESC}[0m five`;
    const whole = parseAnsi(text);
    const flat = (runs: typeof whole.runs) =>
      runs.flatMap((run) => [...run.text].map((character) => [character, run.style]));
    for (let cut = 0; cut <= text.length; cut += 1) {
      const first = parseAnsi(text.slice(0, cut));
      const second = parseAnsi(text.slice(first.consumed), first.style);
      expect(flat([...first.runs, ...second.runs])).toEqual(flat(whole.runs));
      expect(second.style).toEqual(whole.style);
    }
  });

  it("does not wait for ever for the end of a sequence", () => {
    const text = `${ESC}]0;${"x".repeat(5000)}`;
    expect(parseAnsi(text).consumed).toBe(text.length);
  });
});

describe("appendRuns", () => {
  it("never makes markup of text", () => {
    expect(html(`<img src=x onerror=alert(1)>${ESC}[31m<b>`)).toBe(
      '&lt;img src=x onerror=alert(1)&gt;<span class="ansi-fg-1">&lt;b&gt;</span>',
    );
  });

  it("links URLs without the punctuation after them", () => {
    expect(html("see https://example.org/a?b=1. (http://x.y)")).toBe(
      'see <a href="https://example.org/a?b=1" target="_blank" rel="noopener noreferrer">https://example.org/a?b=1</a>' +
        '. (<a href="http://x.y" target="_blank" rel="noopener noreferrer">http://x.y</a>)',
    );
  });

  it("swaps colours for inverse text", () => {
    expect(html(`${ESC}[7;31mx`)).toBe('<span class="ansi-inverse ansi-bg-1">x</span>');
  });
});

describe("overwritten", () => {
  it.each([
    ["10%\r20%\r100%", "100%"],
    ["abcdef\rXY", "XYcdef"],
    ["a\r\nb", "a\nb"],
    ["abc\b\bX", "aX"],
    ["\b\babc", "abc"],
    ["one\ntwo\rTWO\nthree", "one\nTWO\nthree"],
    [`${ESC}[32m10%\r${ESC}[32m20%`, `${ESC}[32m20%`],
    ["done\r", "done"],
  ])("shows %j as %j", (text, shown) => {
    expect(overwritten(text)).toBe(shown);
  });
});
