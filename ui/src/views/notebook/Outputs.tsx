/** The outputs of a code cell: drawn by outputs/, folded and unfolded here. */
import { effect } from "@preact/signals";
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { OutputArea, type Output as ShownOutput } from "../../outputs";
import type { CellView } from "./cells";
import { outputContext } from "./context";
import type { Page } from "./page";

export function Outputs({ page, view }: { page: Page; view: CellView }): JSX.Element | null {
  view.revision.outputs.value;
  view.revision.metadata.value;
  const cell = view.cell.value;
  const count = cell.outputCount;
  const hidden = cell.hidden("outputs");
  const fold = (): void => page.notebook.setHidden([view.id], "outputs", !hidden);
  // Also without outputs the area stays once it was there: clearing keeps its height for a moment, so that nothing jumps.
  return (
    <div class={`cell-outputs ${count === 0 ? "is-empty" : ""}`}>
      {count > 0 && !hidden && !page.readOnly && (
        <button
          type="button"
          class="fold-bar"
          aria-label="Hide outputs"
          title="Hide outputs"
          tabIndex={-1}
          onClick={fold}
        />
      )}
      {hidden && count > 0 ? (
        <button type="button" class="folded" onClick={fold}>
          Show {count === 1 ? "1 output" : `${count} outputs`}
        </button>
      ) : (
        <Area page={page} view={view} />
      )}
    </div>
  );
}

function Area({ page, view }: { page: Page; view: CellView }): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (!place.current) return;
    const area = new OutputArea(place.current, outputContext(page));
    const stop = effect(() => {
      view.revision.outputs.value;
      area.update(view.cell.value.outputs as unknown as ShownOutput[]);
    });
    return () => {
      stop();
      area.destroy();
    };
  }, [page, view]);
  return <div ref={place} />;
}
