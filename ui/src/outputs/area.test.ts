// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OutputArea } from "./area";
import { BLOB, LONG_STREAM, type Output, type OutputContext } from "./types";

const CONTEXT: OutputContext = { baseUrl: "/base/", folder: "a/b" };

let place: HTMLElement;
let area: OutputArea;

beforeEach(() => {
  // jsdom has no media queries; the frame asks for the theme.
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
  document.body.innerHTML = "";
  place = document.body.appendChild(document.createElement("div"));
  area = new OutputArea(place, CONTEXT);
});

afterEach(() => vi.unstubAllGlobals());

function stream(text: string, name = "stdout"): Output {
  return { output_type: "stream", name, text };
}

function display(data: Record<string, unknown>, metadata: Record<string, unknown> = {}): Output {
  return { output_type: "display_data", data, metadata };
}

const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `line ${from + index}\n`).join("");

describe("OutputArea", () => {
  it("leaves an output alone that stays the same", () => {
    area.update([stream("one"), display({ "text/plain": "1" })]);
    const before = [...place.querySelectorAll("*")];
    area.update([stream("one"), display({ "text/plain": "1" })]);
    expect([...place.querySelectorAll("*")]).toEqual(before);
  });

  it("follows the end of a tall stream that grows until the reader scrolls up, and again when they are back", () => {
    // jsdom lays nothing out: ten pixels a line, in a box of 400.
    const height = () => (place.textContent ?? "").split("\n").length * 10;
    vi.spyOn(HTMLElement.prototype, "offsetHeight", "get").mockImplementation(height);
    vi.spyOn(Element.prototype, "scrollHeight", "get").mockImplementation(height);
    vi.spyOn(Element.prototype, "clientHeight", "get").mockReturnValue(400);
    try {
      area.update([stream(lines(0, 100))]);
      const box = place.querySelector(".output-box") as HTMLElement;
      expect(box.scrollTop).toBe(0);
      area.update([stream(lines(0, 200))]);
      expect(box.scrollTop).toBe(box.scrollHeight);
      box.scrollTop = 300;
      box.dispatchEvent(new Event("scroll"));
      area.update([stream(lines(0, 300))]);
      expect(box.scrollTop).toBe(300);
      box.scrollTop = box.scrollHeight - 400;
      box.dispatchEvent(new Event("scroll"));
      area.update([stream(lines(0, 400))]);
      expect(box.scrollTop).toBe(box.scrollHeight);
    } finally {
      vi.restoreAllMocks();
    }
  });

  it("appends to a stream that grows, without drawing the rest again", () => {
    area.update([stream(lines(0, 250))]);
    const before = [...place.querySelectorAll(".stream-block")];
    const first = before[0]?.firstChild;
    area.update([stream(lines(0, 260))]);
    const after = [...place.querySelectorAll(".stream-block")];
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after[0]?.firstChild).toBe(first);
    expect(place.querySelector(".stream-text")?.textContent).toBe(lines(0, 260));
  });

  it("draws only the block again in which a progress bar changed", () => {
    area.update([stream(`${lines(0, 150)}10%`)]);
    const [first] = place.querySelectorAll(".stream-block");
    area.update([stream(`${lines(0, 150)}20%`)]);
    expect(place.querySelector(".stream-block")).toBe(first);
    expect(place.querySelector(".stream-text")?.textContent).toBe(`${lines(0, 150)}20%`);
  });

  it("keeps colours across blocks and pieces", () => {
    area.update([stream(`\u001b[31m${lines(0, 150)}`)]);
    area.update([stream(`\u001b[31m${lines(0, 150)}more\u001b`)]);
    area.update([stream(`\u001b[31m${lines(0, 150)}more\u001b[0m plain`)]);
    const last = place.querySelector(".stream-block:last-child");
    expect(last?.querySelector(".ansi-fg-1")?.textContent).toContain("line 100");
    expect(last?.lastChild?.nodeType).toBe(Node.TEXT_NODE);
    expect(last?.lastChild?.textContent).toBe(" plain");
  });

  it("shows every line of a flood exactly once, in turns", async () => {
    let text = "";
    for (let step = 0; step < 40; step += 1) {
      text += lines(step * 2500, (step + 1) * 2500);
      area.update([stream(text)]);
    }
    await vi.waitFor(() => expect(place.querySelector(".stream-text")?.textContent?.length).toBe(text.length), 20_000);
    expect(place.querySelector(".stream-text")?.textContent).toBe(text);
  }, 30_000);

  it("replaces an output of another kind, and takes away what is gone", () => {
    area.update([stream("one"), stream("two", "stderr"), stream("three")]);
    area.update([display({ "text/plain": "1" }), stream("two", "stderr")]);
    expect(place.textContent).toBe("1two");
    area.update([]);
    expect(place.textContent).toBe("");
  });

  it("shows the best type that it can draw", () => {
    area.update([
      display(
        { "text/plain": "plain", "image/png": "AAAA", "application/x-unknown": {} },
        { "image/png": { width: 20 } },
      ),
    ]);
    const image = place.querySelector("img");
    expect(image?.getAttribute("src")).toBe("data:image/png;base64,AAAA");
    expect(image?.getAttribute("width")).toBe("20");
    expect(image?.alt).toBe("plain");
  });

  it("draws SVG as an image, so that nothing in it can run", () => {
    area.update([
      display({ "image/svg+xml": ["<svg xmlns='http://www.w3.org/2000/svg'>", "<script>alert(1)</script></svg>"] }),
    ]);
    expect(place.querySelector("svg, script")).toBeNull();
    expect(place.querySelector("img")?.src).toMatch(/^data:image\/svg\+xml;charset=utf-8,%3Csvg/);
  });

  it("sanitises HTML", async () => {
    area.update([display({ "text/html": "<b id='x'>bold</b><img src='https://e.org/i.png'>", "text/plain": "plain" })]);
    await vi.waitFor(() => expect(place.querySelector("b")?.id).toBe("user-content-x"));
  });

  it("runs HTML with scripts in a frame of a null origin only", async () => {
    area.update([display({ "text/html": "<script>window.parent.pwned = 1</script>" })]);
    const frame = await vi.waitFor(() => place.querySelector("iframe") ?? expect.fail("no frame"));
    expect(frame.getAttribute("sandbox")).not.toContain("allow-same-origin");
    expect(frame.getAttribute("src")).toBe("/base/frame");
    expect(place.querySelector("script")).toBeNull();
  });

  it("says what it cannot draw", () => {
    area.update([
      display({ "application/vnd.jupyter.widget-view+json": { model_id: "1" }, "text/plain": "IntSlider(value=3)" }),
    ]);
    expect(place.textContent).toContain("interactive widget");
    expect(place.textContent).toContain("IntSlider(value=3)");
    area.update([display({ "application/x-unknown": {} })]);
    expect(place.textContent).toContain("application/x-unknown");
  });

  it("shows an error's traceback in its colours", () => {
    const output: Output = {
      output_type: "error",
      ename: "ValueError",
      evalue: "no",
      traceback: ["\u001b[31mValueError\u001b[0m: no"],
    };
    area.update([output]);
    expect(place.querySelector(".output-error .ansi-fg-1")?.textContent).toBe("ValueError");
    area.update([{ ...output, traceback: [] }]);
    expect(place.textContent).toBe("ValueError: no");
  });

  it("opens JSON level by level", () => {
    area.update([
      display({ "application/json": { a: { b: [1, 2] }, c: "text" } }, { "application/json": { expanded: true } }),
    ]);
    expect(place.querySelectorAll("details")).toHaveLength(2);
    expect(place.textContent).toContain('c: "text"');
    expect(place.textContent).not.toContain("b:");
  });

  it("lets the browser fetch an image blob, and prefers a blob to what stands in for it", () => {
    const blob = { sha256: "00", mime: "image/png", size: 5000, url: "api/documents/blobs/00?type=image/png" };
    area.update([display({ [BLOB]: blob, "text/html": "<img>", "text/plain": "<Figure size 1x1>" })]);
    const image = place.querySelector("img");
    expect(image?.getAttribute("src")).toBe("/base/api/documents/blobs/00?type=image/png");
    expect(image?.getAttribute("loading")).toBe("lazy");
    expect(image?.alt).toBe("Figure size 1x1");
  });

  it("prefers a small value of a better type to a blob, unless it only stands in for it", async () => {
    const blob = { sha256: "00", mime: "image/png", size: 5000, url: "blob" };
    area.update([
      display({ [BLOB]: { ...blob, stand_in: ["text/plain"] }, "text/html": "<b>own</b>", "text/plain": "image" }),
    ]);
    await vi.waitFor(() => expect(place.querySelector("b")?.textContent).toBe("own"));
    area.update([
      display({ [BLOB]: { ...blob, stand_in: ["text/html", "text/plain"] }, "text/html": "<b>stand-in</b>" }),
    ]);
    await vi.waitFor(() => expect(place.querySelector("img")?.getAttribute("src")).toBe("/base/blob"));
    const unknown = { blobs: [{ ...blob, mime: "application/x-unknown" }], stand_in: ["text/html"] };
    area.update([display({ [BLOB]: unknown, "text/html": "<b>stand-in</b>" })]);
    await vi.waitFor(() => expect(place.querySelector("b")?.textContent).toBe("stand-in"));
  });

  it("fetches a text blob, says when that fails, and tries again", async () => {
    const fetch = vi.fn<typeof globalThis.fetch>();
    vi.stubGlobal("fetch", fetch);
    fetch.mockRejectedValueOnce(new TypeError("network")).mockImplementation(async () => new Response("the text"));
    area.update([
      display({
        [BLOB]: { blobs: [{ sha256: "00", mime: "text/plain", size: 5000, url: "blob" }] },
        "text/plain": "summary",
      }),
    ]);
    const retry = await vi.waitFor(() => place.querySelector("button") ?? expect.fail("no button"));
    expect(place.textContent).toContain("cannot be reached");
    retry.click();
    await vi.waitFor(() => expect(place.querySelector(".stream-text")?.textContent).toBe("the text"));
    expect(fetch).toHaveBeenCalledWith("/base/blob", expect.anything());
  });

  it("offers the whole of a long stream, and shows it", async () => {
    const whole = lines(0, 100_000);
    vi.stubGlobal("fetch", async () => new Response(whole));
    const long = { lines: 100_000, size: 12_000_000, url: "streams/1" };
    area.update([{ output_type: "stream", name: "stdout", text: "head\n…\ntail\n", [LONG_STREAM]: long }]);
    const show = place.querySelector("button");
    expect(show?.textContent).toBe("Show all 100,000 lines (12 MB)");
    expect(place.querySelector("a")?.getAttribute("href")).toBe("/base/streams/1");
    show?.click();
    const text = await vi.waitFor(() => place.querySelector<HTMLElement>(".long-text") ?? expect.fail("no text"));
    expect(text.textContent).toContain("line 0");
    expect(text.querySelectorAll(".long-text-line").length).toBeLessThan(200);
    expect(place.querySelector<HTMLElement>(".stream-text")?.hidden).toBe(true);
    const less = [...place.querySelectorAll("button")].find((button) => button.textContent === "Show less");
    less?.click();
    expect(place.querySelector(".long-text")).toBeNull();
    expect(place.querySelector<HTMLElement>(".stream-text")?.hidden).toBe(false);
  });
});
