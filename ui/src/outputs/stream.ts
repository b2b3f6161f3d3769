/**
 * Text that grows: draws what is new, and only that.
 *
 * The text lies in the page as blocks of lines; each block knows where it begins and in which style. Text that only grew is
 * appended; text that changed before its end (a progress bar) is drawn again from the block in which it changed. Long
 * text is drawn a few milliseconds at a time, so that a flood leaves the page responsive, and blocks out of view cost no layout.
 */
import { type AnsiStyle, overwritten, PLAIN, parseAnsi } from "./ansi";
import { appendRuns } from "./ansi_dom";
import { element } from "./dom";

/** Lines of one block: enough to make blocks few, few enough to draw one again for each step of a progress bar. */
const BLOCK_LINES = 100;
/** Characters of one block, unless a single line is longer. */
const BLOCK_CHARACTERS = 12_000;
/** Milliseconds of drawing before the page gets a turn. */
const BUDGET = 8;

interface Block {
  readonly place: HTMLElement;
  /** Where in the text it begins, and in which style. */
  readonly start: number;
  readonly style: AnsiStyle;
  lines: number;
  length: number;
}

export class GrowingText {
  /** What to put in the page. */
  readonly place: HTMLElement;
  #text = "";
  /** How much of the text is drawn. */
  #drawn = 0;
  #style = PLAIN;
  #blocks: Block[] = [];
  #cancel: (() => void) | null = null;
  readonly #onDrawn: () => void;

  /** @param onDrawn called whenever all of the text is in the page. */
  constructor(onDrawn: () => void = () => {}) {
    this.place = element("div", { class: "stream-text" });
    this.#onDrawn = onDrawn;
  }

  /** True while a part of the text waits to be drawn. */
  get busy(): boolean {
    return this.#cancel !== null;
  }

  /** Shows this text. The first part is drawn before this returns, the rest in turns. */
  set(text: string): void {
    const next = overwritten(text);
    if (next === this.#text) return;
    const same = commonLength(this.#text, next, this.#drawn);
    this.#text = next;
    if (same < this.#drawn) this.#rewind(same);
    if (!this.#cancel) this.#draw();
  }

  destroy(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  /** Goes back to the beginning of the block that holds character `to`. */
  #rewind(to: number): void {
    let keep = this.#blocks.length;
    let start = this.#drawn;
    while (keep > 0 && start > to) {
      keep -= 1;
      start = this.#blocks[keep]?.start ?? 0;
    }
    const removed = this.#blocks.splice(keep);
    this.#style = removed[0]?.style ?? PLAIN;
    this.#drawn = removed[0]?.start ?? 0;
    for (const block of removed) block.place.remove();
  }

  #draw(): void {
    this.#cancel = null;
    const until = performance.now() + BUDGET;
    while (this.#drawn < this.#text.length) {
      const before = this.#drawn;
      this.#drawPiece();
      if (this.#drawn === before) break;
      if (performance.now() > until && this.#drawn < this.#text.length) {
        this.#cancel = nextTurn(() => this.#draw());
        return;
      }
    }
    this.#onDrawn();
  }

  /** Draws up to the end of the current block, or of the text. */
  #drawPiece(): void {
    const block = this.#openBlock();
    const piece = this.#text.slice(this.#drawn, this.#pieceEnd(block));
    const parsed = parseAnsi(piece, this.#style);
    appendRuns(block.place, parsed.runs);
    this.#style = parsed.style;
    this.#drawn += parsed.consumed;
    block.length += parsed.consumed;
    block.lines += countLines(piece);
    // The browser reserves this much room for a block that it has not laid out yet.
    block.place.style.setProperty("--lines", String(Math.max(1, block.lines)));
  }

  #openBlock(): Block {
    const last = this.#blocks.at(-1);
    const full = last && (last.lines >= BLOCK_LINES || last.length >= BLOCK_CHARACTERS);
    // A block ends at the end of a line only: two blocks never share one.
    if (last && !(full && this.#text[this.#drawn - 1] === "\n")) return last;
    const place = element("div", { class: "stream-block" });
    const block = { place, start: this.#drawn, style: this.#style, lines: 0, length: 0 };
    this.#blocks.push(block);
    this.place.append(place);
    return block;
  }

  #pieceEnd(block: Block): number {
    let end = this.#drawn;
    for (let lines = block.lines, length = block.length; lines < BLOCK_LINES && length < BLOCK_CHARACTERS; lines += 1) {
      const newline = this.#text.indexOf("\n", end);
      if (newline < 0) return this.#text.length;
      length += newline + 1 - end;
      end = newline + 1;
    }
    if (end > this.#drawn) return end;
    const newline = this.#text.indexOf("\n", end);
    return newline < 0 ? this.#text.length : newline + 1;
  }
}

/** How many characters, at most `limit`, two texts have in common at their beginning. */
export function commonLength(a: string, b: string, limit: number): number {
  const most = Math.min(a.length, b.length, limit);
  // Nearly always all of it: comparing slices is a memory comparison, comparing characters is not.
  if (a.slice(0, most) === b.slice(0, most)) return most;
  let low = 0;
  let high = most;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (a.slice(low, middle) === b.slice(low, middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

function countLines(text: string): number {
  let lines = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines += 1;
  return lines;
}

/** Runs after the browser had a chance to paint. A hidden page gets no frames, so there a timer does it. */
function nextTurn(run: () => void): () => void {
  if (typeof requestAnimationFrame === "function" && document.visibilityState === "visible") {
    const handle = requestAnimationFrame(run);
    return () => cancelAnimationFrame(handle);
  }
  const handle = setTimeout(run);
  return () => clearTimeout(handle);
}
