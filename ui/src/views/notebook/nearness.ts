/**
 * Which cells have contents and editors. A cell gets both when it comes within a window's height of the window; it loses its
 * editor when it leaves, and its contents only when many others have been shown since. Cells far away are empty boxes of their
 * height, so a notebook of thousands of cells costs what a short one costs.
 */
import type { CellView } from "./cells";
import { ScrollKeeper } from "./scroll_keeper";

/** Cells that keep their contents (outputs, painted code) although they are far away. */
const KEPT = 80;
/** Milliseconds of one frame that mounting editors may take. */
const FRAME_BUDGET = 6;
/** While the page scrolls, painted code is enough: editors come when it has rested for so many milliseconds. */
const REST = 120;

export class Nearness {
  private observer: IntersectionObserver | null = null;
  private readonly byElement = new WeakMap<Element, CellView>();
  /** Shown cells, the longest unseen first. */
  private readonly order = new Set<CellView>();
  private readonly mounts = new Set<() => void>();
  private frame = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly keeper = new ScrollKeeper(edge);
  private scrolledAt = Number.NEGATIVE_INFINITY;

  constructor() {
    addEventListener(
      "scroll",
      () => {
        this.scrolledAt = performance.now();
      },
      { passive: true },
    );
  }

  /** @returns how to end it. */
  watch(view: CellView, element: HTMLElement): () => void {
    this.observer ??= new IntersectionObserver((entries) => this.crossed(entries), { rootMargin: "100% 0px" });
    this.byElement.set(element, view);
    this.observer.observe(element);
    this.keeper.watch(element);
    return () => {
      this.observer?.unobserve(element);
      this.keeper.unwatch(element);
      this.order.delete(view);
    };
  }

  /** Mounts an editor in one of the next frames in which the page rests. @returns how to call it off. */
  mountSoon(mount: () => void): () => void {
    this.mounts.add(mount);
    this.frame ||= requestAnimationFrame(() => this.mountSome());
    return () => this.mounts.delete(mount);
  }

  private mountSome(): void {
    this.frame = 0;
    const start = performance.now();
    if (start - this.scrolledAt < REST) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        this.frame ||= requestAnimationFrame(() => this.mountSome());
      }, REST);
      return;
    }
    for (const mount of this.mounts) {
      this.mounts.delete(mount);
      mount();
      if (performance.now() - start > FRAME_BUDGET) break;
    }
    if (this.mounts.size > 0) this.frame ||= requestAnimationFrame(() => this.mountSome());
  }

  private crossed(entries: IntersectionObserverEntry[]): void {
    for (const entry of entries) {
      const view = this.byElement.get(entry.target);
      if (!view) continue;
      view.near.value = entry.isIntersecting;
      if (!entry.isIntersecting) {
        if (view.shown.peek()) view.height = entry.boundingClientRect.height;
        continue;
      }
      view.shown.value = true;
      this.order.delete(view);
      this.order.add(view);
    }
    this.forgetSome();
  }

  private forgetSome(): void {
    for (const view of this.order) {
      if (this.order.size <= KEPT) break;
      if (view.near.peek() || view.element?.contains(document.activeElement)) continue;
      this.order.delete(view);
      view.height = view.element?.offsetHeight ?? view.height;
      view.shown.value = false;
    }
  }
}

/** Above this nothing may move what is below: the top of the cell that is being edited, else the foot of the page's head. */
function edge(): number {
  const edited = document.querySelector(".anchor-edited > .is-editing");
  return edited?.getBoundingClientRect().top ?? document.querySelector(".notebook-head")?.clientHeight ?? 0;
}
