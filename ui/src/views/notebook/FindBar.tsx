/** The bar that finds text in the notebook: Enter goes to the next match, Shift+Enter back, Escape closes it. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { IconButton } from "../common";
import { findMatches, type Match, MOST } from "./find";
import { CloseIcon, DownIcon, UpIcon } from "./icons";
import type { Page } from "./page";

export function FindBar({ page }: { page: Page }): JSX.Element | null {
  return page.findShown.value > 0 ? <Bar page={page} /> : null;
}

function Bar({ page }: { page: Page }): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  const said = useSignal("");
  const at = useRef(-1);
  const asked = page.findShown.value;
  // Also when the keys are pressed again while the bar is there.
  useEffect(() => field.current?.select(), [asked]);

  const go = (by: number): void => {
    const matches = findMatches(
      page.cells.peek().map((view) => view.cell.peek()),
      field.current?.value ?? "",
    );
    at.current = by === 0 ? nearest(page, matches) : at.current + by;
    const number = matches.length === 0 ? -1 : (at.current + matches.length) % matches.length;
    at.current = number;
    const match = matches[number];
    const count = matches.length === MOST ? `more than ${MOST.toLocaleString("en")}` : String(matches.length);
    said.value = match ? `${number + 1} of ${count}` : field.current?.value ? "Not found" : "";
    if (match) show(page, match);
  };
  const close = (): void => {
    page.findShown.value = 0;
    page.leaveMatch();
    page.focusCell();
  };
  return (
    <search class="find-bar no-print">
      <input
        ref={field}
        class="input"
        type="search"
        aria-label="Find in notebook"
        placeholder="Find in notebook"
        autocomplete="off"
        spellcheck={false}
        onInput={() => go(0)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" && event.key !== "Escape") return;
          event.preventDefault();
          event.stopPropagation();
          if (event.key === "Escape") close();
          else go(event.shiftKey ? -1 : 1);
        }}
      />
      <output class="find-count" aria-live="polite">
        {said.value}
      </output>
      <IconButton label="Previous match" icon={UpIcon} shortcut="Shift+Enter" onClick={() => go(-1)} />
      <IconButton label="Next match" icon={DownIcon} shortcut="Enter" onClick={() => go(1)} />
      <IconButton label="Close the search" icon={CloseIcon} shortcut="Esc" onClick={close} />
    </search>
  );
}

/** The first match from the active cell on. */
function nearest(page: Page, matches: Match[]): number {
  return Math.max(
    0,
    matches.findIndex((match) => match.index >= page.activeIndex),
  );
}

/** Selects the match in its editor and brings it into view; the focus stays in the bar. */
function show(page: Page, match: Match): void {
  const view = page.cells.peek()[match.index];
  if (!view) return;
  page.select(view.key);
  if (match.range && view.cell.peek().hidden("source")) page.notebook.setHidden([view.id], "source", false);
  page.revealMatch(view.key, match.range);
}
