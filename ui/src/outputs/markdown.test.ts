// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { renderMarkdown } from "./markdown";
import type { OutputContext } from "./types";
import { joinPath, resolveUrl } from "./urls";

const CONTEXT: OutputContext = { baseUrl: "/base/", folder: "a b", attachments: { "p.png": { "image/png": "AAAA" } } };

async function drawn(source: string): Promise<HTMLElement> {
  const place = document.createElement("div");
  await renderMarkdown(place, source, CONTEXT);
  return place;
}

describe("renderMarkdown", () => {
  it("draws headings that can be linked to, tables and task lists", async () => {
    const place = await drawn("# One two\n\n|a|b|\n|-|-|\n|1|2|\n\n- [x] done\n- [ ] not");
    expect(place.querySelector("h1")?.id).toBe("user-content-One-two");
    expect(place.querySelectorAll("td")).toHaveLength(2);
    expect(place.textContent).toContain("☑ done");
    expect(place.querySelector("input")).toBeNull();
  });

  it.each([
    ["$a_1 * b_2$", false],
    ["$ x $", false],
    ["text $\\alpha$, more", false],
    ["\\(x\\)", false],
    ["\\\\(x\\\\)", false],
    ["$$\nx\n- y\n\n= z\n$$", true],
    ["text\n$$\nx\n- y\n$$\nmore", true],
    ["so $$x$$ here", true],
    ["\\[x\\]", true],
    ["\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}", true],
  ])("draws the formula in %j", async (source, display) => {
    const place = await drawn(source);
    expect(place.querySelectorAll(".katex")).toHaveLength(1);
    expect(place.querySelectorAll(".katex-display")).toHaveLength(display ? 1 : 0);
    expect(place.querySelector(".katex-error, em, li, h1, hr")).toBeNull();
  });

  it.each(["it costs $5 and $10", "`$x$`", "```\n$x$\n```", "\\$x\\$", "$5 or 6 $"])(
    "sees no formula in %j",
    async (source) => {
      expect((await drawn(source)).querySelector(".katex")).toBeNull();
    },
  );

  it("shows a formula that is wrong as it was written", async () => {
    expect((await drawn("$\\frac{$")).textContent).toContain("\\frac{");
  });

  it("does not let a formula carry markup or scripts", async () => {
    const place = await drawn(
      "$\\href{javascript:alert(1)}{x}$ $\\text{<img src=x onerror=alert(1)>}$ <b onclick='x()'>y</b>",
    );
    expect(place.querySelector("img, script, [onclick], [onerror]")).toBeNull();
    expect(place.querySelector("a[href^='javascript']")).toBeNull();
  });

  it("finds images in attachments and beside the notebook, and links to notebooks", async () => {
    const place = await drawn(
      "![p](attachment:p.png) ![q](../q.png) ![r](r%20s.png) [n](other.ipynb#x) [up](../../up.txt)",
    );
    expect([...place.querySelectorAll("img")].map((image) => image.getAttribute("src"))).toEqual([
      "data:image/png;base64,AAAA",
      "/base/files/q.png",
      "/base/files/a%20b/r%20s.png",
    ]);
    const links = [...place.querySelectorAll("a")];
    expect(links[0]?.getAttribute("href")).toBe("/base/notebooks/a%20b/other.ipynb#x");
    expect(links[1]?.hasAttribute("href")).toBe(false);
  });

  it("colours Python", async () => {
    const place = await drawn("```python\nimport os  # x\n```");
    expect(place.querySelector(".tok-keyword")?.textContent).toBe("import");
    expect(place.querySelector("code")?.textContent).toBe("import os  # x\n");
  });

  it("shows the latest of two drawings, whichever is ready first", async () => {
    const place = document.createElement("div");
    const first = renderMarkdown(place, "$$x$$ first", CONTEXT);
    const second = renderMarkdown(place, "second", CONTEXT);
    await Promise.all([first, second]);
    expect(place.textContent?.trim()).toBe("second");
  });
});

describe("urls", () => {
  it.each([
    ["a/b", "../c", "a/c"],
    ["", "./c//d", "c/d"],
    ["a", "../../c", null],
  ])("joins %j and %j to %j", (folder, path, joined) => {
    expect(joinPath(folder, path)).toBe(joined);
  });

  it("has no answer for an attachment that is not there", () => {
    expect(resolveUrl(CONTEXT, "attachment:x.png", "image")).toBeNull();
  });
});
