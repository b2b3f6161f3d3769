/**
 * The table of MIME types that can be drawn, and the choice among those that an output offers.
 *
 * Ranks are JupyterLab's (packages/rendermime): the lowest that we can draw wins. What a renderer needs is loaded when it is
 * first used, so that a notebook without HTML or formulas loads neither DOMPurify nor KaTeX.
 */
import { element, sizeText } from "./dom";
import { renderJson } from "./json";
import { GrowingText } from "./stream";
import { type MimeBundle, type OutputContext, textOf } from "./types";
import { imageUrl } from "./urls";

export interface RenderRequest {
  mime: string;
  /** Text, base64 for binary types, or JSON; for an image that the browser fetches itself: undefined, and `url` instead. */
  value: unknown;
  /** Where the value can be fetched from, when it is a blob. */
  url?: string;
  /** What the output says about this type: width, height, alt, needs_background, expanded. */
  metadata: Readonly<Record<string, unknown>>;
  /** The other types of the same output. */
  bundle: MimeBundle;
  context: OutputContext;
}

/** Takes away what the drawing holds beyond its elements. */
export type TakeAway = () => void;

export interface MimeRenderer {
  readonly mimes: readonly string[];
  readonly rank: number;
  /** Draws from `url` without the value: no fetch of ours is needed. */
  readonly byUrl?: boolean;
  /** Takes room of its own: is never put into a scrolled box. */
  readonly whole?: boolean;
  readonly render: (place: HTMLElement, request: RenderRequest) => TakeAway | Promise<TakeAway>;
}

const nothing: TakeAway = () => {};

/** https://jupyterlab.readthedocs.io/en/stable/user/file_formats.html and rendermime/src/factories.ts */
export const RENDERERS: readonly MimeRenderer[] = [
  {
    mimes: ["text/html"],
    rank: 50,
    render: async (place, { value, context }) => (await import("./html")).renderHtml(place, value, context),
  },
  {
    mimes: ["text/markdown"],
    rank: 60,
    render: async (place, { value, context }) => {
      await (await import("./markdown")).renderMarkdown(place, textOf(value), context);
      return nothing;
    },
  },
  {
    mimes: ["text/latex"],
    rank: 70,
    render: async (place, { value }) => {
      const { typesetMath } = await import("./math");
      const inner = element("div", { class: "output-latex" }, textOf(value));
      await typesetMath(inner);
      place.append(inner);
      return nothing;
    },
  },
  { mimes: ["image/svg+xml"], rank: 80, byUrl: true, whole: true, render: renderImage },
  {
    mimes: ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"],
    rank: 90,
    byUrl: true,
    whole: true,
    render: renderImage,
  },
  { mimes: ["application/pdf"], rank: 95, byUrl: true, render: renderPdf },
  {
    mimes: ["application/json"],
    rank: 100,
    render: (place, { value, metadata }) => {
      renderJson(place, typeof value === "string" ? parsed(value) : value, metadata.expanded !== false);
      return nothing;
    },
  },
  {
    mimes: ["application/javascript", "text/javascript"],
    rank: 110,
    whole: true,
    render: async (place, { value, context }) => (await import("./html")).renderJavaScript(place, value, context),
  },
  {
    mimes: ["text/plain"],
    rank: 120,
    render: (place, { value }) => {
      const text = new GrowingText();
      text.set(textOf(value));
      place.append(text.place);
      return () => text.destroy();
    },
  },
];

const BY_MIME: ReadonlyMap<string, MimeRenderer> = new Map(
  RENDERERS.flatMap((renderer) => renderer.mimes.map((mime) => [mime, renderer])),
);

/** Types that are drawn by later work; what to tell people meanwhile, when nothing else in the output can be drawn. */
const WIDGET = "application/vnd.jupyter.widget-view+json";
const PLOTLY = "application/vnd.plotly.v1+json";

export function rendererOf(mime: string): MimeRenderer | undefined {
  return BY_MIME.get(mime);
}

/** The best type among these, or null when none can be drawn. */
export function bestMime(mimes: Iterable<string>): string | null {
  let best: string | null = null;
  let rank = Number.POSITIVE_INFINITY;
  for (const mime of mimes) {
    const renderer = BY_MIME.get(mime);
    if (!renderer || renderer.rank >= rank) continue;
    best = mime;
    rank = renderer.rank;
  }
  return best;
}

/** What an output says in place of a drawing that we cannot make; null when there is nothing to say. */
export function undrawable(mimes: readonly string[]): string | null {
  return (
    missing(mimes) ??
    (mimes.length > 0 ? `This output has a type that cannot be drawn here: ${mimes.join(", ")}.` : null)
  );
}

/** What to say above a text that only stands in for a drawing that we cannot make; null when nothing is missing. */
export function missing(mimes: readonly string[]): string | null {
  if (mimes.includes(WIDGET))
    return "This output is an interactive widget. It needs JupyterLab or Notebook to be drawn; its value is kept.";
  if (!mimes.includes(PLOTLY) || ![null, "text/plain"].includes(bestMime(mimes))) return null;
  return (
    "This output is a Plotly figure, which this page cannot draw by itself; it is kept. After " +
    "plotly.io.renderers.default = 'colab' figures bring along what a browser needs, from the Internet."
  );
}

/** Milliseconds that a new image may take to be decoded before the old one makes way all the same. */
const DECODING = 300;

async function renderImage(
  place: HTMLElement,
  { mime, value, url, metadata, bundle }: RenderRequest,
): Promise<TakeAway> {
  const image = element("img", { class: "output-image", alt: altText(metadata, bundle), decoding: "async" });
  if (url) image.setAttribute("loading", "lazy");
  for (const side of ["width", "height"] as const) {
    const pixels = Number(metadata[side]);
    if (Number.isFinite(pixels) && pixels > 0) image[side] = Math.round(pixels);
  }
  if (metadata.needs_background === "light" || metadata.needs_background === "dark") {
    image.classList.add(`needs-${metadata.needs_background}`);
  }
  image.src = url ?? imageUrl(mime, value);
  image.addEventListener("error", () =>
    image.replaceWith(element("p", { class: "output-note" }, `This ${mime} image cannot be read.`)),
  );
  place.append(image);
  // A lazy image is not loaded before it is in view: waiting for it would wait for ever.
  if (!url)
    await Promise.race([image.decode?.().catch(() => {}), new Promise((resolve) => setTimeout(resolve, DECODING))]);
  return nothing;
}

/** What the author said, or what the library wrote for people who cannot see it ("<Figure size 640x480 with 1 Axes>"). */
function altText(metadata: Readonly<Record<string, unknown>>, bundle: MimeBundle): string {
  if (typeof metadata.alt === "string") return metadata.alt;
  const plain = textOf(bundle["text/plain"]).trim();
  const described = /^<(.+)>$/s.exec(plain)?.[1] ?? plain;
  return described.length > 0 && described.length <= 200 ? described : "Image without a description";
}

function renderPdf(place: HTMLElement, { value, url }: RenderRequest): TakeAway {
  const made =
    url === undefined ? URL.createObjectURL(new Blob([bytesOf(textOf(value))], { type: "application/pdf" })) : null;
  const size = url === undefined ? ` (${sizeText(Math.floor(textOf(value).length * 0.75))})` : "";
  const link = element(
    "a",
    { class: "button button-plain", href: made ?? url ?? "", download: "output.pdf" },
    `Download PDF${size}`,
  );
  place.append(link);
  return () => {
    if (made) URL.revokeObjectURL(made);
  };
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64.replace(/\s+/g, "")), (character) => character.charCodeAt(0));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
