/** The list of cells, with the keys that act on it. */
import { useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Button } from "../common";
import { act } from "./actions";
import { CellBox } from "./Cell";
import { PlusIcon } from "./icons";
import type { Mode, Page } from "./page";
import { IS_MAC, KeyReader, SHORTCUTS } from "./shortcuts";

export function CellList({ page }: { page: Page }): JSX.Element {
  const views = page.cells.value;
  const list = useRef<HTMLElement>(null);
  useKeys(page);
  useEditedAnchor(page, list);
  // Moving an element in the list takes the focus from it: give it back, wherever the move came from.
  const focused = list.current?.contains(document.activeElement) ? document.activeElement : null;
  useLayoutEffect(() => {
    if (!(focused instanceof HTMLElement) || !focused.isConnected || document.activeElement === focused) return;
    if (document.activeElement === document.body || document.activeElement === null)
      focused.focus({ preventScroll: true });
  });
  return (
    <section ref={list} class="cells" aria-label="Cells">
      {views.map((view, index) => (
        <CellBox key={view.key} page={page} view={view} index={index} />
      ))}
      {!page.readOnly && (
        <Button
          class="add-cell"
          variant="quiet"
          icon={PlusIcon}
          aria-label="Add a cell at the end"
          onClick={() => {
            const last = views.at(-1);
            if (last) page.select(last.key);
            act(page, "insert-below");
          }}
        >
          Cell
        </Button>
      )}
    </section>
  );
}

/**
 * While somebody writes, the cell they write in stays where it is, whatever grows above it. Otherwise the browser holds
 * the first cell that is seen, so that a run shows its outputs below the cell that was run.
 */
function useEditedAnchor(page: Page, list: { current: HTMLElement | null }): void {
  useSignalEffect(() => {
    const key = page.mode.value === "edit" ? page.active.value : "";
    const element = page.views.value.get(key)?.element;
    const anchor = (seen: boolean): void => {
      list.current?.classList.toggle("anchor-edited", seen);
    };
    if (!element) {
      anchor(false);
      return;
    }
    const observer = new IntersectionObserver((entries) => anchor(entries.at(-1)?.isIntersecting ?? false));
    observer.observe(element);
    return () => observer.disconnect();
  });
}

/** Listens to the whole page: command keys also count when nothing has the focus, editor keys before the editor sees them. */
function useKeys(page: Page): void {
  useEffect(() => {
    const reader = new KeyReader(SHORTCUTS, IS_MAC);
    const touched = (): void => page.touched();
    const pressed = (event: KeyboardEvent): void => {
      touched();
      if (event.defaultPrevented || event.isComposing) return;
      const mode = modeOf(event);
      if (!mode) return;
      const action = reader.read(event, mode, event.timeStamp);
      if (action === null) return;
      // A key that is held repeats moves and scrolling, never deletions or runs.
      if (event.repeat && !/^(select|extend|scroll|move)-/.test(action)) {
        event.preventDefault();
        return;
      }
      event.preventDefault();
      event.stopPropagation();
      if (action !== "pending") act(page, action);
    };
    addEventListener("keydown", pressed, true);
    addEventListener("pointerdown", touched, true);
    return () => {
      removeEventListener("keydown", pressed, true);
      removeEventListener("pointerdown", touched, true);
    };
  }, [page]);
}

/** Which keys count where the focus is; null where people type or press controls. */
function modeOf(event: KeyboardEvent): Mode | null {
  const target = event.target;
  if (!(target instanceof Element)) return "command";
  if (document.querySelector("dialog[open]") || target.closest(".menu")) return null;
  if (target.closest(".cm-content")) return "edit";
  const everywhere = (event.ctrlKey || event.metaKey) && /^[sf]$/i.test(event.key);
  if (everywhere) return "edit";
  if (target.closest("input, select, textarea, [contenteditable=true], iframe")) return null;
  // Enter and Space press a button or follow a link; other keys are the notebook's there too.
  if (target.closest("button, a, summary"))
    return /^(Enter| |Arrow\w+|Home|End|Tab|Escape)$/.test(event.key) && !event.shiftKey ? null : "command";
  return "command";
}
