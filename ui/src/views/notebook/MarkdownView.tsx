/** A Markdown cell as it reads. Double click, or Enter, shows its source. */
import { effect } from "@preact/signals";
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { renderMarkdown } from "../../outputs";
import type { CellView } from "./cells";
import { outputContext } from "./context";
import type { Page } from "./page";

export function MarkdownView({ page, view }: { page: Page; view: CellView }): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    return effect(() => {
      view.revision.source.value;
      view.revision.metadata.value;
      const cell = view.cell.value;
      const source = cell.source;
      element.classList.toggle("is-blank", source.trim() === "");
      // Until the renderer has come, the words themselves: the page can be read, and keeps about its height.
      if (!element.hasChildNodes()) element.textContent = source;
      void renderMarkdown(element, source, outputContext(page, cell));
    });
  }, [page, view]);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keyboard's way is Enter on the cell
    <div
      ref={place}
      class="markdown cell-rendered"
      onDblClick={(event) => {
        if ((event.target as Element).closest("a") || page.readOnly) return;
        event.preventDefault();
        page.editCell(view.key);
      }}
    />
  );
}
