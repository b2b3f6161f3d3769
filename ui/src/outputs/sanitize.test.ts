// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { classifyHtml } from "./html";
import { sanitize } from "./sanitize";

function clean(html: string, place: "embedded" | "isolated" = "embedded"): string {
  const box = document.createElement("div");
  box.append(sanitize(html, { place, resolve: (url) => `/files/${url}` }));
  return box.innerHTML;
}

describe("sanitize", () => {
  it.each([
    ["a script", "<script>alert(1)</script><p>x</p>", "<p>x</p>"],
    ["a handler", '<img src="/a.png" onerror="alert(1)" alt="x">', /^<img(?!.*onerror)/],
    ["a handler in SVG", '<svg onload="alert(1)"><circle r="1"></circle></svg>', /^<svg><circle r="1">/],
    ["a script in SVG", "<svg><script>alert(1)</script><rect></rect></svg>", /^(?!.*script)/],
    ["HTML in SVG", '<svg><foreignObject><iframe src="x"></iframe></foreignObject></svg>', /^(?!.*iframe)/],
    ["a script link", '<a href="javascript:alert(1)">x</a>', /^<a(?!.*javascript)/],
    ["a disguised script link", '<a href="java&#10;script:alert(1)">x</a>', /^<a(?!.*alert)/],
    ["a data link", '<a href="data:text/html,<script>alert(1)</script>">x</a>', /^<a(?!.*data:)/],
    ["a frame", '<iframe src="https://example.org"></iframe>x', "x"],
    ["an object", '<object data="x"></object><embed src="x">x', "x"],
    ["a form", '<form action="/api/shutdown"><input name="password"><button>Log in</button></form>', "Log in"],
    ["a button that runs a command", '<button data-commandlinker-command="terminal:create-new">x</button>', "x"],
    ["a command on a link", '<a data-commandlinker-command="x" data-commandlinker-args="{}">x</a>', "<a>x</a>"],
    ["a redirect", '<meta http-equiv="refresh" content="0;url=//evil"><base href="//evil/">x', "x"],
    ["a sheet", "<style>body{display:none}</style><p>x</p>", "<p>x</p>"],
    ["a class of our page", '<p class="dialog dataframe">x</p>', '<p class="dataframe">x</p>'],
    ["a formaction", '<p formaction="/x" contenteditable accesskey="a" tabindex="1">x</p>', "<p>x</p>"],
  ])("takes out %s", (_what, html, expected) => {
    if (typeof expected === "string") expect(clean(html)).toBe(expected);
    else expect(clean(html)).toMatch(expected);
  });

  it("keeps ids and names apart from those of the page", () => {
    expect(clean('<p id="homeport-config">x</p><a name="cookie">y</a><a href="#homeport-config">z</a>')).toBe(
      '<p id="user-content-homeport-config">x</p><a name="user-content-cookie">y</a><a href="#user-content-homeport-config">z</a>',
    );
  });

  it("keeps what a table needs", () => {
    const table =
      '<table border="1"><thead><tr><th colspan="2">a</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>';
    expect(clean(table)).toBe(table);
  });

  it("keeps looks, but none that leave the place or fetch", () => {
    const html =
      '<p style="color: red; position: fixed; top: 0px; background-image: url(https://evil/x); text-align: right">x</p>';
    expect(clean(html)).toBe('<p style="color: red; text-align: right;">x</p>');
  });

  it("opens links in a tab that cannot reach back", () => {
    expect(clean('<a href="https://example.org" rel="opener">x</a>')).toBe(
      '<a href="https://example.org" rel="noopener noreferrer" target="_blank">x</a>',
    );
  });

  it("looks for relative images beside the notebook, and loads images late", () => {
    expect(clean('<img src="plot.png" alt="p">')).toBe('<img src="/files/plot.png" alt="p" loading="lazy">');
    expect(clean('<img src="https://example.org/p.png" alt="p">')).toContain('src="https://example.org/p.png"');
  });

  it("keeps images and sounds that are in the output itself", () => {
    expect(clean('<img src="data:image/png;base64,AAAA">')).toContain("data:image/png;base64,AAAA");
    expect(clean('<audio controls><source src="data:audio/wav;base64,AAAA" type="audio/wav"></audio>')).toContain(
      "data:audio/wav",
    );
  });
});

describe("classifyHtml", () => {
  it.each([
    ["<table><tr><td>1</td></tr></table>", "embedded"],
    [
      '<div><style scoped>\n    .dataframe tbody tr th:only-of-type {\n vertical-align: middle;\n }\n</style><table class="dataframe"></table></div>',
      "embedded",
    ],
    ["<style>#T_1 td {color: red}</style><table id=T_1></table>", "isolated"],
    ["<style scoped>.mine{}</style>", "isolated"],
    ["<script>x()</script>", "frame"],
    ["<div onclick='x()'>", "frame"],
    ['<img src="a"onerror=x>', "frame"],
    ["<iframe src=x></iframe>", "frame"],
    ["<!-- a script --><b>on = 1</b>", "embedded"],
    ["<p>one = 1, onset = 2</p>", "embedded"],
  ])("%s is %s", (html, kind) => {
    expect(classifyHtml(html)).toBe(kind);
  });
});
