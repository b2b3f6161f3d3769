/**
 * Keeps what is seen in its place when cells above it grow or shrink, where the browser does not do so by itself (Safari
 * has no scroll anchoring).
 */

export class ScrollKeeper {
  private readonly heights = new WeakMap<Element, number>();
  private readonly observer: ResizeObserver | null;
  /** Where the visible part of the page begins, below the head: px from the top of the window. */
  private readonly edge: () => number;

  constructor(edge: () => number) {
    this.edge = edge;
    const anchored = CSS.supports("overflow-anchor: auto");
    this.observer = anchored ? null : new ResizeObserver((entries) => this.resized(entries));
  }

  watch(element: Element): void {
    this.observer?.observe(element);
  }

  unwatch(element: Element): void {
    this.observer?.unobserve(element);
  }

  private resized(entries: ResizeObserverEntry[]): void {
    let grown = 0;
    for (const { target, borderBoxSize } of entries) {
      const now = borderBoxSize[0]?.blockSize ?? 0;
      const before = this.heights.get(target);
      this.heights.set(target, now);
      if (before === undefined || before === now) continue;
      const bottomBefore = target.getBoundingClientRect().top + before - grown;
      if (bottomBefore <= this.edge()) grown += now - before;
    }
    if (grown !== 0) scrollBy({ top: grown, behavior: "instant" });
  }
}
