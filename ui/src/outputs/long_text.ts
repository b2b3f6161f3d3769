/**
 * A text of millions of lines in a scroller: only the lines in view are in the page.
 *
 * Lines are not wrapped, so each has the same height and its place follows from its number. Browsers cannot lay out boxes
 * taller than some ten million pixels: above {@link TALLEST} the scroll bar is scaled.
 */
import { type AnsiStyle, PLAIN, parseAnsi } from "./ansi";
import { appendRuns } from "./ansi_dom";
import { button, element, numberText, sizeText } from "./dom";

/** Pixels; Firefox stops at 17.9 million, Chromium at 33.5 million. */
const TALLEST = 8_000_000;
/** Lines drawn above and below what is in view. */
const MARGIN = 20;
/** A style is kept for every so many lines, so that drawing can start near any line. */
const STYLE_EVERY = 500;
/** A longer line is cut in the page (never in the download). */
const LONGEST_LINE = 20_000;

export class LongText {
  readonly place: HTMLElement;
  readonly #lines: readonly string[];
  readonly #styles: AnsiStyle[] = [PLAIN];
  readonly #scroller: HTMLElement;
  readonly #spacer: HTMLElement;
  readonly #window: HTMLElement;
  readonly #lineHeight: number;
  #first = -1;
  readonly #resizes: ResizeObserver | null = null;

  /** @param lineHeight pixels of one line, as the style sheet has it. */
  constructor(text: string, lineHeight: number) {
    this.#lines = (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
    this.#lineHeight = lineHeight;
    this.#window = element("div", { class: "long-text-window" });
    this.#spacer = element("div", { class: "long-text-spacer" }, this.#window);
    const label = `Text of ${numberText(this.#lines.length)} lines`;
    this.#scroller = element(
      "div",
      { class: "long-text", tabindex: "0", role: "region", "aria-label": label },
      this.#spacer,
    );
    this.#spacer.style.height = `${Math.min(TALLEST, this.#lines.length * lineHeight)}px`;
    this.#scroller.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.place = this.#scroller;
    if (typeof ResizeObserver === "function") {
      this.#resizes = new ResizeObserver(() => this.#draw());
      this.#resizes.observe(this.#scroller);
    }
    this.#draw();
  }

  get lineCount(): number {
    return this.#lines.length;
  }

  /** Scrolls so that line `index` (from 0) is the first in view. */
  scrollToLine(index: number): void {
    const { scrollable, lines } = this.#scale();
    this.#scroller.scrollTop = lines === 0 ? 0 : (index / lines) * scrollable;
    this.#draw();
  }

  destroy(): void {
    this.#resizes?.disconnect();
  }

  /** Scrolling over `scrollable` pixels passes `lines` lines. */
  #scale(): { scrollable: number; lines: number; visible: number } {
    const height = this.#scroller.clientHeight || 400;
    const visible = Math.ceil(height / this.#lineHeight);
    const total = Math.min(TALLEST, this.#lines.length * this.#lineHeight);
    return { scrollable: Math.max(0, total - height), lines: Math.max(0, this.#lines.length - visible + 1), visible };
  }

  #draw(): void {
    const { scrollable, lines, visible } = this.#scale();
    const scrolled = this.#scroller.scrollTop;
    const top = scrollable === 0 ? 0 : Math.min(1, scrolled / scrollable) * lines;
    const first = Math.max(0, Math.floor(top) - MARGIN);
    const last = Math.min(this.#lines.length, Math.floor(top) + visible + MARGIN);
    // Line `top` lies at the scroll position, whatever the scale.
    this.#window.style.transform = `translateY(${scrolled - (top - first) * this.#lineHeight}px)`;
    if (first === this.#first && this.#window.childElementCount === last - first) return;
    this.#first = first;
    this.#window.replaceChildren(...this.#drawLines(first, last));
  }

  #drawLines(first: number, last: number): HTMLElement[] {
    let style = this.#styleAt(first);
    return this.#lines.slice(first, last).map((line) => {
      const shown = line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)} …` : line;
      const parsed = parseAnsi(shown, style);
      style = parsed.style;
      const row = element("div", { class: "long-text-line" });
      appendRuns(row, parsed.runs);
      return row;
    });
  }

  /** The style in force where line `index` begins; reads from the nearest line before it whose style is known. */
  #styleAt(index: number): AnsiStyle {
    const known = Math.min(Math.floor(index / STYLE_EVERY), this.#styles.length - 1);
    let style = this.#styles[known] ?? PLAIN;
    for (let at = known * STYLE_EVERY; at < index; at += 1) {
      const line = this.#lines[at];
      if (line?.includes("\x1b")) style = parseAnsi(line, style).style;
      if ((at + 1) % STYLE_EVERY === 0) this.#styles[(at + 1) / STYLE_EVERY] = style;
    }
    return style;
  }
}

export interface LongTextSource {
  lines?: number;
  /** Bytes. */
  size: number;
  /** Absolute or relative to the page. */
  url: string;
  /** What a download is called. */
  fileName: string;
}

/**
 * The foot of a text of which only a part is shown: "Show all 1,000,000 lines (12 MB)" and "Download".
 *
 * @param shortened what stands in the page until then; it comes back with "Show less".
 */
export class LongTextFoot {
  readonly place = element("div", { class: "output-foot" });
  #source: LongTextSource;
  readonly #shortened: HTMLElement;
  #open: LongText | null = null;
  #abort: AbortController | null = null;

  constructor(source: LongTextSource, shortened: HTMLElement) {
    this.#source = source;
    this.#shortened = shortened;
    this.#offer();
  }

  /** The text has grown, or is another one. An opened text stays as it was opened. */
  update(source: LongTextSource): void {
    if (source.url === this.#source.url && source.size === this.#source.size) return;
    this.#source = source;
    if (!this.#open && !this.#abort) this.#offer();
  }

  destroy(): void {
    this.#abort?.abort();
    this.#close();
  }

  #offer(trouble = ""): void {
    const { lines, size } = this.#source;
    const what =
      lines === undefined
        ? `Show all of it (${sizeText(size)})`
        : `Show all ${numberText(lines)} lines (${sizeText(size)})`;
    const parts: (Node | string)[] = trouble
      ? [element("span", { class: "output-trouble", role: "alert" }, trouble)]
      : [];
    this.place.replaceChildren(
      ...parts,
      button(trouble ? "Try again" : what, () => void this.#load()),
      this.#download(),
    );
  }

  #download(): HTMLElement {
    const attributes = {
      class: "button button-quiet output-button",
      href: this.#source.url,
      download: this.#source.fileName,
    };
    return element("a", attributes, "Download");
  }

  async #load(): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    const progress = element("span", { class: "output-progress", role: "status" }, "Loading…");
    this.place.replaceChildren(
      progress,
      button("Cancel", () => abort.abort()),
    );
    try {
      const text = await fetchText(this.#source.url, abort.signal, (done) => {
        progress.textContent = `Loading… ${sizeText(done)} of ${sizeText(this.#source.size)}`;
      });
      this.#abort = null;
      this.#show(text);
    } catch (error) {
      this.#abort = null;
      if (abort.signal.aborted) this.#offer();
      else this.#offer(error instanceof Error ? error.message : String(error));
    }
  }

  #show(text: string): void {
    const lineHeight = Number.parseFloat(getComputedStyle(this.#shortened).lineHeight) || 20;
    this.#open = new LongText(text, lineHeight);
    this.#shortened.hidden = true;
    this.#shortened.after(this.#open.place);
    const less = button("Show less", () => {
      this.#close();
      this.#offer();
      this.place.querySelector("button")?.focus();
    });
    const end = button("Go to the end", () => this.#open?.scrollToLine(this.#open.lineCount));
    this.place.replaceChildren(less, end, this.#download());
    this.#open.place.focus({ preventScroll: true });
  }

  #close(): void {
    this.#open?.destroy();
    this.#open?.place.remove();
    this.#open = null;
    this.#shortened.hidden = false;
  }
}

/**
 * Fetches a text.
 *
 * @param onProgress told how many bytes have come.
 * @throws Error with a message for a person.
 */
export async function fetchText(
  url: string,
  signal: AbortSignal,
  onProgress: (bytes: number) => void = () => {},
): Promise<string> {
  let response: Response;
  try {
    response = await fetch(url, { signal, credentials: "same-origin" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Error("The server cannot be reached now.");
  }
  if (response.status === 404)
    throw new Error("The server does not have this output any more. Run the cell again to make it.");
  if (!response.ok) throw new Error(`The server answered ${response.status} ${response.statusText}.`);
  if (!response.body) return response.text();
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  const pieces: string[] = [];
  let bytes = 0;
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    bytes += step.value.byteLength;
    pieces.push(decoder.decode(step.value, { stream: true }));
    onProgress(bytes);
  }
  pieces.push(decoder.decode());
  return pieces.join("");
}
