/**
 * HTML outputs. Static HTML (tables) is sanitised and becomes a part of our page, in its type and colours; static HTML with a
 * style sheet of its own (pandas Styler, xarray) gets a shadow tree; what wants to run gets a sandboxed frame.
 *
 * Loaded when the first HTML output is drawn.
 */
import { element } from "./dom";
import { SandboxFrame } from "./frame";
import { hasMath, typesetMath } from "./math";
import { sanitize } from "./sanitize";
import { type OutputContext, textOf } from "./types";
import { resolveUrl } from "./urls";

export type HtmlKind = "embedded" | "isolated" | "frame";

/** Elements and attributes without which the author's intent is lost, and which we run in a sandbox only. */
const ACTIVE =
  /<(?:script|iframe|object|embed|applet|frame|frameset|form|input|select|textarea|button|link|meta|base)\b|<[^>]*[\s"'/]on[a-z]+\s*=|<use\b/i;
const STYLE = /<style\b/i;
/** A sheet ends at the first end tag, whatever is in it: so does the HTML parser see it. */
const STYLE_ELEMENT = /<style\b[^>]*>([\s\S]*?)<\/style[^>]*>/gi;
/** The sheet that pandas puts before every table; our own table style does the same. */
const PANDAS_STYLE = /<style scoped>\s*\.dataframe [\s\S]*?<\/style>/g;
/** Comments hide nothing from a browser, but the word "script" in one makes nothing active. */
const COMMENT = /<!--[\s\S]*?-->/g;

/** Where a piece of HTML belongs. It decides about looks only: sanitising is done wherever HTML enters our page. */
export function classifyHtml(html: string): HtmlKind {
  const bare = html.replace(PANDAS_STYLE, "").replace(COMMENT, "");
  if (ACTIVE.test(bare)) return "frame";
  return STYLE.test(bare) ? "isolated" : "embedded";
}

/** Draws HTML into `place`. Returns "take away". */
export async function renderHtml(place: HTMLElement, value: unknown, context: OutputContext): Promise<() => void> {
  const html = textOf(value);
  const kind = classifyHtml(html);
  if (kind === "frame") {
    const frame = new SandboxFrame(html, context.baseUrl);
    place.append(frame.place);
    return () => frame.destroy();
  }
  const resolve = (url: string, use: "link" | "image") => resolveUrl(context, url, use);
  if (kind === "isolated") {
    place.append(isolated(html, resolve));
    return () => {};
  }
  const inner = element("div", { class: "output-html" });
  inner.append(sanitize(html.replace(PANDAS_STYLE, ""), { place: "embedded", resolve }));
  if (hasMath(inner.textContent ?? "")) await typesetMath(inner);
  place.append(inner);
  return () => {};
}

/** How tables and text look in a shadow tree, where the page's sheets do not reach; tokens do. */
const ISOLATED_BASE =
  ":host{display:block;color:inherit}table{border-collapse:collapse;font-size:.875em}th,td{padding:.25em .6em}";

function isolated(html: string, resolve: (url: string, use: "link" | "image") => string | null): HTMLElement {
  // The sheet may style its host as it likes (:host { position: fixed }); the box around it, which is ours, keeps it in.
  const host = element("div");
  const root = host.attachShadow({ mode: "open" });
  const css = [...html.matchAll(STYLE_ELEMENT)].map((match) => match[1] ?? "").join("\n");
  // Constructed sheets are allowed by a Content-Security-Policy that refuses <style>; they cannot @import.
  const sheets = [ISOLATED_BASE, css].map((text) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    return sheet;
  });
  root.adoptedStyleSheets = sheets;
  root.append(sanitize(html.replace(STYLE_ELEMENT, ""), { place: "isolated", resolve }));
  return element("div", { class: "output-isolated" }, host);
}

/** Draws JavaScript output: in a frame, where it can draw and reach nothing of ours. */
export function renderJavaScript(place: HTMLElement, value: unknown, context: OutputContext): () => void {
  const code = textOf(value).replaceAll(/<\/(script)/gi, "<\\/$1");
  const html = `<div id="output"></div><script>var element = document.getElementById("output");\n${code}\n</script>`;
  const frame = new SandboxFrame(html, context.baseUrl);
  place.append(frame.place);
  return () => frame.destroy();
}
