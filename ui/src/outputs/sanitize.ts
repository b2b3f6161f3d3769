/**
 * Makes HTML that anybody may have written fit for our page: DOMPurify decides what is dangerous, this module what we want on top.
 *
 * Nothing that comes through here can run, submit, address a part of our page by its id, or lie over it. What needs to run goes
 * to a sandboxed frame instead (html.ts decides, frame.ts draws).
 */
import DOMPurify, { type Config } from "dompurify";

/** "embedded": shares our page, so classes and ids that our page knows are taken away. "isolated": lives in a shadow tree of its own. */
export type Place = "embedded" | "isolated";

export interface SanitizeOptions {
  place: Place;
  /** Makes a relative link or image address absolute; null takes it away. */
  resolve?: (url: string, use: "link" | "image") => string | null;
}

/** What a static output has no use for; several have carried attacks (buttons that run commands, forms that ask for passwords). */
const FORBIDDEN_TAGS = [
  ...[
    "style",
    "form",
    "button",
    "input",
    "textarea",
    "select",
    "option",
    "optgroup",
    "fieldset",
    "datalist",
    "dialog",
    "menu",
  ],
  ...["iframe", "object", "embed", "link", "meta", "base", "slot", "template"],
];

/** Classes that mean something in Markdown and in outputs; every other class could only imitate our page. */
const KNOWN_CLASSES =
  /^(?:alert(?:-(?:info|success|warning|danger|block))?|dataframe|homeport-math(?:-display)?|language-[\w+#-]+)$/;

/** The prefix that keeps ids of outputs apart from ours; DOMPurify's own choice. */
export const ID_PREFIX = "user-content-";

/**
 * Parsing a `style` attribute makes the browser complain about our Content-Security-Policy, so it is parsed under this name.
 */
const STYLE = "data-homeport-style";
const TAG = /<[a-z][^<>]*>/gi;
const STYLE_IN_TAG = /(\s|["'/])style(\s*=)/gi;

const CONFIG = {
  USE_PROFILES: { html: true, svg: true, svgFilters: true },
  FORBID_TAGS: FORBIDDEN_TAGS,
  FORBID_ATTR: [
    "form",
    "formaction",
    "ping",
    "action",
    "background",
    "contenteditable",
    "autofocus",
    "tabindex",
    "accesskey",
    "popover",
    "popovertarget",
  ],
  // The web, mail, a cell's attachments, and what is relative. DOMPurify allows data: for images, audio and video by itself.
  ALLOWED_URI_REGEXP: /^(?:(?:https?|mailto|tel|attachment):|[^a-z]|[a-z+.-]+(?:[^a-z+.\-:]|$))/i,
  ADD_ATTR: [STYLE],
  // It is not an address; restyle() decides about it.
  ADD_URI_SAFE_ATTR: [STYLE],
  ALLOW_DATA_ATTR: false,
  SANITIZE_DOM: true,
  SANITIZE_NAMED_PROPS: true,
  RETURN_DOM_FRAGMENT: true,
} satisfies Config;

/** @returns the safe part of `html`, ready to be put into the page. */
export function sanitize(html: string, options: SanitizeOptions): DocumentFragment {
  const isolated = options.place === "isolated";
  // Ids of a shadow tree cannot clobber anything, and its style sheet may need them.
  const renamed = html.replace(TAG, (tag) => tag.replace(STYLE_IN_TAG, `$1${STYLE}$2`));
  const fragment = DOMPurify.sanitize(renamed, {
    ...CONFIG,
    SANITIZE_NAMED_PROPS: !isolated,
  }) as unknown as DocumentFragment;
  for (const node of fragment.querySelectorAll<HTMLElement | SVGElement>("*")) {
    restyle(node);
    if (!isolated) keepKnownClasses(node);
    if (node instanceof HTMLAnchorElement || node instanceof HTMLAreaElement) tieLink(node, options, isolated);
    else if (node.hasAttribute("src")) resolveSource(node, options);
  }
  return fragment;
}

/** Properties by which content could leave its place or fetch from elsewhere. */
const ESCAPING =
  /^(?:position|z-index|inset.*|top|right|bottom|left|behavior|content|animation.*|transition.*|pointer-events|--.*)$/;

/**
 * A `style` attribute is set anew, property by property: our Content-Security-Policy refuses style attributes that come from
 * parsing, and some properties are not wanted.
 */
function restyle(node: HTMLElement | SVGElement): void {
  const wanted = node.getAttribute(STYLE) ?? node.getAttribute("style");
  if (wanted === null) return;
  node.removeAttribute(STYLE);
  node.removeAttribute("style");
  const scratch = document.createElement("span").style;
  scratch.cssText = wanted;
  for (let index = 0; index < scratch.length; index += 1) {
    const property = scratch.item(index);
    const value = scratch.getPropertyValue(property);
    if (ESCAPING.test(property) || /url\(|expression\(/i.test(value)) continue;
    node.style.setProperty(property, value, scratch.getPropertyPriority(property));
  }
}

function keepKnownClasses(node: Element): void {
  if (!node.hasAttribute("class")) return;
  const kept = [...node.classList].filter((name) => KNOWN_CLASSES.test(name));
  if (kept.length > 0) node.setAttribute("class", kept.join(" "));
  else node.removeAttribute("class");
}

/** Links leave our page in a new tab and cannot reach back; links within the output stay there. */
function tieLink(link: HTMLAnchorElement | HTMLAreaElement, options: SanitizeOptions, isolated: boolean): void {
  const target = link.getAttribute("href");
  if (target === null) return;
  if (target.startsWith("#")) {
    if (!isolated) link.setAttribute("href", `#${ID_PREFIX}${target.slice(1)}`);
    link.removeAttribute("target");
    return;
  }
  const resolved = isRelative(target) && options.resolve ? options.resolve(target, "link") : target;
  if (resolved === null) link.removeAttribute("href");
  else link.setAttribute("href", resolved);
  link.target = "_blank";
  link.rel = "noopener noreferrer";
}

function resolveSource(node: Element, options: SanitizeOptions): void {
  const source = node.getAttribute("src") ?? "";
  const resolved = isRelative(source) && options.resolve ? options.resolve(source, "image") : source;
  if (resolved === null) node.removeAttribute("src");
  else if (resolved !== source) node.setAttribute("src", resolved);
  if (node instanceof HTMLImageElement) node.setAttribute("loading", "lazy");
}

/** `attachment:` counts as relative: its target is in the cell. */
function isRelative(url: string): boolean {
  return url.startsWith("attachment:") || !/^(?:[a-z][a-z0-9+.-]*:|\/)/i.test(url);
}

/** Whether a link target may be followed at all (used where links do not come from HTML). */
export function isSafeUrl(url: string): boolean {
  return /^(?:https?:|mailto:|\/(?!\/)|[^:/?#]*(?:[/?#]|$))/i.test(url.trim());
}
