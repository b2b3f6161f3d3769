/**
 * One output in the page: a stream, an error, or something in one of several MIME types.
 *
 * A view is updated in place as long as the output stays of its kind; a drawing that takes time (an image, HTML) replaces the
 * old one only when it is ready, so that an animation does not flicker and the page does not jump.
 */

import { button, element, sizeText } from "./dom";
import { fetchText, LongTextFoot } from "./long_text";
import { bestMime, missing, type RenderRequest, rendererOf, type TakeAway, undrawable } from "./mime";
import { GrowingText } from "./stream";
import {
  BLOB,
  type BlobReference,
  type DisplayOutput,
  type ErrorOutput,
  LONG_STREAM,
  type Metadata,
  type Output,
  type OutputContext,
  type StreamOutput,
  textOf,
} from "./types";

export interface OutputView {
  readonly place: HTMLElement;
  /** Shows this output; false when it is of another kind and needs another view. */
  update(output: Output): boolean;
  /** Never put into a scrolled box, however tall. */
  readonly whole: boolean;
  destroy(): void;
}

/** @param onChange called when the height of the view may have changed. */
export function viewOf(output: Output, context: OutputContext, onChange: () => void): OutputView {
  if (output.output_type === "stream") return new StreamView(output, context, onChange);
  if (output.output_type === "error") return new ErrorView(output, onChange);
  return new DisplayView(output, context, onChange);
}

class StreamView implements OutputView {
  readonly place: HTMLElement;
  readonly whole = false;
  readonly #name: string;
  readonly #text: GrowingText;
  readonly #context: OutputContext;
  #foot: LongTextFoot | null = null;

  constructor(output: StreamOutput, context: OutputContext, onChange: () => void) {
    this.#name = output.name;
    this.#context = context;
    this.#text = new GrowingText(onChange);
    this.place = element(
      "div",
      { class: `output-stream output-${output.name === "stderr" ? "stderr" : "stdout"}` },
      this.#text.place,
    );
    this.update(output);
  }

  update(output: Output): boolean {
    if (output.output_type !== "stream" || output.name !== this.#name) return false;
    this.#text.set(textOf(output.text));
    this.#showFoot(output);
    return true;
  }

  #showFoot(output: StreamOutput): void {
    const long = output[LONG_STREAM];
    if (!long) {
      this.#foot?.destroy();
      this.#foot?.place.remove();
      this.#foot = null;
      return;
    }
    const source = {
      lines: long.lines,
      size: long.size,
      url: this.#context.baseUrl + long.url,
      fileName: `${this.#name}.txt`,
    };
    if (this.#foot) {
      this.#foot.update(source);
      return;
    }
    this.#foot = new LongTextFoot(source, this.#text.place);
    this.place.append(this.#foot.place);
  }

  destroy(): void {
    this.#text.destroy();
    this.#foot?.destroy();
  }
}

class ErrorView implements OutputView {
  readonly place: HTMLElement;
  readonly whole = false;
  readonly #text: GrowingText;

  constructor(output: ErrorOutput, onChange: () => void) {
    this.#text = new GrowingText(onChange);
    this.place = element("div", { class: "output-error" }, this.#text.place);
    this.update(output);
  }

  update(output: Output): boolean {
    if (output.output_type !== "error") return false;
    const traceback = textOf(Array.isArray(output.traceback) ? output.traceback.join("\n") : output.traceback);
    this.#text.set(traceback || `${output.ename}: ${output.evalue}`);
    return true;
  }

  destroy(): void {
    this.#text.destroy();
  }
}

/** A value to draw: in the document, or to be fetched. */
interface Choice {
  mime: string;
  value: unknown;
  blob: BlobReference | null;
}

class DisplayView implements OutputView {
  readonly place = element("div", { class: "output-display" });
  readonly #context: OutputContext;
  readonly #onChange: () => void;
  #whole = false;
  #drawing = 0;
  #takeAway: TakeAway = () => {};
  #abort: AbortController | null = null;
  #destroyed = false;

  constructor(output: DisplayOutput, context: OutputContext, onChange: () => void) {
    this.#context = context;
    this.#onChange = onChange;
    this.update(output);
  }

  get whole(): boolean {
    return this.#whole;
  }

  update(output: Output): boolean {
    if (output.output_type === "stream" || output.output_type === "error") return false;
    this.#abort?.abort();
    this.#drawing += 1;
    const choice = choose(output);
    if (!choice) {
      const text = undrawable(Object.keys(output.data));
      this.#place(text ? [element("p", { class: "output-note" }, text)] : [], () => {});
      return true;
    }
    const text = missing(choice.offered);
    const note = text ? element("p", { class: "output-note" }, text) : null;
    this.#draw(choice, output, this.#drawing, note);
    return true;
  }

  destroy(): void {
    this.#destroyed = true;
    this.#abort?.abort();
    this.#takeAway();
  }

  #draw(choice: Choice, output: DisplayOutput, drawing: number, note: HTMLElement | null): void {
    const renderer = rendererOf(choice.mime);
    if (!renderer) return;
    this.#whole = renderer.whole === true;
    if (choice.blob && !renderer.byUrl) {
      this.#fetchWhenSeen(choice.blob, output, drawing, note);
      return;
    }
    const next = element("div", { class: `output-value output-${choice.mime.replace(/[^a-z0-9]+/gi, "-")}` });
    if (note) next.append(note);
    const request: RenderRequest = {
      mime: choice.mime,
      value: choice.value,
      ...(choice.blob && { url: this.#context.baseUrl + choice.blob.url }),
      metadata: metadataOf(output.metadata, choice.mime),
      bundle: output.data,
      context: this.#context,
    };
    // The first drawing is shown while it grows; a later one when it is ready.
    if (this.place.childElementCount === 0) this.place.append(next);
    const done = (takeAway: TakeAway) => this.#ready(next, takeAway, drawing);
    try {
      const result = renderer.render(next, request);
      if (typeof result === "function") done(result);
      else result.then(done, (error) => this.#failed(error, choice, output, drawing));
    } catch (error) {
      this.#failed(error, choice, output, drawing);
    }
  }

  #ready(next: HTMLElement, takeAway: TakeAway, drawing: number): void {
    if (drawing !== this.#drawing || this.#destroyed) takeAway();
    else this.#place([next], takeAway);
  }

  #place(nodes: HTMLElement[], takeAway: TakeAway): void {
    this.#takeAway();
    this.#takeAway = takeAway;
    // Re-inserting a frame would load it again.
    if (nodes.length !== 1 || this.place.firstChild !== nodes[0] || this.place.childNodes.length !== 1)
      this.place.replaceChildren(...nodes);
    this.#onChange();
  }

  /** A drawing that failed must not take the text of the output with it. */
  #failed(error: unknown, choice: Choice, output: DisplayOutput, drawing: number): void {
    if (drawing !== this.#drawing || this.#destroyed) return;
    const reason = error instanceof Error ? error.message : String(error);
    const text = `This ${choice.mime} output cannot be drawn: ${reason}`;
    const trouble = element("p", { class: "output-note output-trouble", role: "alert" }, text);
    const retry = button("Try again", () => this.update(output));
    const plain = choice.mime === "text/plain" ? "" : textOf(output.data["text/plain"]);
    this.#place([element("div", {}, trouble, retry, element("pre", {}, plain))], () => {});
  }

  /** Text of a blob is fetched when it comes near the window: outputs out of view cost nothing. */
  #fetchWhenSeen(blob: BlobReference, output: DisplayOutput, drawing: number, note: HTMLElement | null): void {
    const waiting = element("div", { class: "output-waiting" }, `Output of ${sizeText(blob.size)}`);
    if (this.place.childElementCount === 0) this.place.append(waiting);
    const abort = new AbortController();
    this.#abort = abort;
    whenNear(this.place, abort.signal, async () => {
      waiting.textContent = `Loading ${sizeText(blob.size)}…`;
      try {
        const text = await fetchText(this.#context.baseUrl + blob.url, abort.signal);
        if (drawing !== this.#drawing) return;
        waiting.remove();
        this.#draw({ mime: blob.mime, value: fetchedValue(blob.mime, text), blob: null }, output, drawing, note);
      } catch (error) {
        if (!abort.signal.aborted) this.#failed(error, { mime: blob.mime, value: null, blob }, output, drawing);
      }
    });
  }
}

function choose(output: DisplayOutput): (Choice & { offered: readonly string[] }) | null {
  const { blobs, standIns } = blobsOf(output.data[BLOB]);
  const own = Object.keys(output.data).filter((mime) => !standIns.includes(mime));
  // What stands in for a blob is drawn only when we can draw neither the blob nor anything else.
  const offered = [...blobs.map((blob) => blob.mime), ...own];
  const mime = bestMime(offered) ?? bestMime(Object.keys(output.data));
  if (mime === null) return null;
  const blob = blobs.find((candidate) => candidate.mime === mime) ?? null;
  return { mime, value: blob ? undefined : output.data[mime], blob, offered };
}

/** The references in a bundle, and which of its types stand in for them (for programs that do not know blobs). */
function blobsOf(value: unknown): { blobs: readonly BlobReference[]; standIns: readonly string[] } {
  if (typeof value !== "object" || value === null) return { blobs: [], standIns: [] };
  const { blobs, stand_in: standIns = ["text/html", "text/plain"] } = value as {
    blobs?: unknown[];
    stand_in?: string[];
  };
  const isReference = (blob: unknown): blob is BlobReference =>
    typeof blob === "object" &&
    blob !== null &&
    "mime" in blob &&
    "url" in blob &&
    typeof blob.mime === "string" &&
    typeof blob.url === "string";
  return { blobs: (blobs ?? [value]).filter(isReference), standIns };
}

function fetchedValue(mime: string, text: string): unknown {
  return mime === "application/json" || mime.endsWith("+json") ? JSON.parse(text) : text;
}

/** Libraries put metadata under the MIME type; some put it beside. */
function metadataOf(metadata: Metadata | undefined, mime: string): Readonly<Record<string, unknown>> {
  const own = metadata?.[mime];
  return typeof own === "object" && own !== null ? { ...metadata, ...own } : (metadata ?? {});
}

/** Runs once `place` is in view, or less than a window away from it. */
function whenNear(place: HTMLElement, signal: AbortSignal, run: () => void): void {
  if (typeof IntersectionObserver !== "function") {
    run();
    return;
  }
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      run();
    },
    { rootMargin: "100%" },
  );
  observer.observe(place);
  signal.addEventListener("abort", () => observer.disconnect());
}
