/**
 * The outputs of a cell. Given the whole list again and again, it touches what changed: a growing stream gets its new text, an
 * output that is the same stays as it is, elements and scroll positions included.
 */
import { button, element } from "./dom";
import type { Output, OutputContext } from "./types";
import { type OutputView, viewOf } from "./view";

/** Pixels: a taller output becomes a scrolled box, until the reader wants all of it. Also in outputs.css. */
const TALL = 560;
/** Milliseconds for which a cleared area keeps its height, so that a cell that clears and draws again does not make the page jump. */
const KEEP_HEIGHT = 400;

export class OutputArea {
  readonly #place: HTMLElement;
  readonly #context: OutputContext;
  #slots: Slot[] = [];
  #keeping: ReturnType<typeof setTimeout> | null = null;

  constructor(place: HTMLElement, context: OutputContext) {
    this.#place = place;
    this.#context = context;
    place.classList.add("outputs");
  }

  /** Shows these outputs, in this order. */
  update(outputs: readonly Output[]): void {
    if (outputs.length < this.#slots.length) this.#keepHeight();
    for (const slot of this.#slots.splice(outputs.length)) slot.destroy();
    outputs.forEach((output, index) => {
      const slot = this.#slots[index];
      if (slot?.update(output)) return;
      const made = new Slot(output, this.#context);
      if (slot) slot.place.replaceWith(made.place);
      else this.#place.append(made.place);
      slot?.destroy();
      this.#slots[index] = made;
    });
  }

  /** Stops all work for these outputs and takes them out of the page. */
  destroy(): void {
    for (const slot of this.#slots.splice(0)) slot.destroy();
    if (this.#keeping) clearTimeout(this.#keeping);
    this.#place.style.minHeight = "";
  }

  #keepHeight(): void {
    if (this.#keeping) clearTimeout(this.#keeping);
    else this.#place.style.minHeight = `${this.#place.offsetHeight}px`;
    this.#keeping = setTimeout(() => {
      this.#keeping = null;
      this.#place.style.minHeight = "";
    }, KEEP_HEIGHT);
  }
}

/** An output's place in the area: its view, and the scrolled box around it when it is tall. */
class Slot {
  readonly place = element("div", { class: "output" });
  readonly #box = element("div", { class: "output-box" });
  readonly #view: OutputView;
  #output: Output;
  /** What the reader chose; null: by height. */
  #chosen: "scrolled" | "whole" | null = null;
  #toggle: HTMLButtonElement | null = null;
  /** Whether the box stays at its end as the text grows: it does from when a stream grows until the reader scrolls up. */
  #following = false;
  /** The reader has scrolled the box, which says from then on whether it follows. */
  #scrolled = false;
  /** Where the box was last, in pixels. */
  #top = 0;
  readonly #resizes: ResizeObserver | null = null;

  constructor(output: Output, context: OutputContext) {
    this.#output = output;
    this.#view = viewOf(output, context, () => this.#fit());
    this.#box.append(this.#view.place);
    this.place.append(this.#box);
    this.#box.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    if (typeof ResizeObserver === "function") {
      this.#resizes = new ResizeObserver(() => this.#fit());
      this.#resizes.observe(this.#view.place);
    }
  }

  /** False when the output is of another kind: then a new slot is needed. */
  update(output: Output): boolean {
    if (same(output, this.#output)) return true;
    if (!this.#view.update(output)) return false;
    this.#output = output;
    // A stream that changes comes from a run that goes on.
    if (output.output_type === "stream" && !this.#scrolled) this.#following = true;
    this.#follow();
    return true;
  }

  destroy(): void {
    this.#resizes?.disconnect();
    this.#view.destroy();
    this.place.remove();
  }

  /** A reader who goes up stays there; one who comes back to the end goes on looking at it. Text that grows does not scroll. */
  #onScroll(): void {
    const box = this.#box;
    if (!box.classList.contains("is-scrolled")) return;
    const below = box.scrollHeight - box.scrollTop - box.clientHeight;
    // The browser itself goes up only when the text has become shorter, and then exactly to its end.
    if (box.scrollTop < this.#top) this.#following = below < 1;
    else if (below < 8) this.#following = true;
    this.#scrolled ||= box.scrollTop !== this.#top;
    this.#top = box.scrollTop;
  }

  #follow(): void {
    const box = this.#box;
    if (!this.#following || !box.classList.contains("is-scrolled")) return;
    box.scrollTop = box.scrollHeight;
    this.#top = box.scrollTop;
  }

  #fit(): void {
    // Called by the view's constructor too, before there is a view.
    const height = this.#view?.place.offsetHeight ?? 0;
    const tall = height > TALL && !this.#view.whole;
    if (!tall && !this.#toggle) return;
    const scrolled = tall && this.#chosen !== "whole";
    this.#setScrolled(scrolled);
    this.#showToggle(tall, scrolled);
    this.#follow();
  }

  #setScrolled(scrolled: boolean): void {
    this.#box.classList.toggle("is-scrolled", scrolled);
    if (scrolled) {
      this.#box.tabIndex = 0;
      this.#box.setAttribute("role", "region");
      this.#box.setAttribute("aria-label", "Long output");
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) this.#box.removeAttribute(name);
    }
  }

  #showToggle(tall: boolean, scrolled: boolean): void {
    if (!tall) {
      this.#toggle?.remove();
      this.#toggle = null;
      return;
    }
    if (!this.#toggle) {
      this.#toggle = button("", () => {
        this.#chosen = this.#box.classList.contains("is-scrolled") ? "whole" : "scrolled";
        this.#fit();
      });
      this.#toggle.classList.add("output-toggle");
      this.place.append(this.#toggle);
    }
    this.#toggle.textContent = scrolled ? "Show at full height" : "Show in a scrolled box";
    this.#toggle.setAttribute("aria-expanded", String(!scrolled));
  }
}

/** Whether two values of JSON are the same. */
export function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, index) => same(value, b[index]))
    );
  }
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => key in right && same(left[key], right[key]));
}
