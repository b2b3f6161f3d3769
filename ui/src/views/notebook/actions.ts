/**
 * Everything a person can do with a notebook, by name. Toolbar, menus and keys (shortcuts.ts) only name what is here; the
 * label is what the control is called everywhere, for eyes and for ears.
 */
import type { CellType } from "../../model/schema";
import type { CellView } from "./cells";
import { afterDrawing } from "./drawing";
import { changeKernel, restartKernel, shutDownKernel } from "./kernel_dialogs";
import type { Page } from "./page";

export interface Action {
  label: string;
  run(page: Page): void;
  /** Whether it changes the document, and so is off while the notebook is read-only. */
  writes?: boolean;
}

function writes(label: string, run: (page: Page) => void): Action {
  return { label, run, writes: true };
}

function reads(label: string, run: (page: Page) => void): Action {
  return { label, run };
}

function selectedViews(page: Page): CellView[] {
  const selected = page.selected.peek();
  return page.cells.peek().filter((view) => selected.has(view.key));
}

function insert(page: Page, where: "above" | "below", edit = false): void {
  const index = page.activeIndex + (where === "below" ? 1 : 0);
  const [id] = page.notebook.insert(index, [{ cell_type: "code", source: "", metadata: {} }]);
  if (!id) return;
  if (edit) page.editCell(id);
  else page.select(id, { focus: true });
}

function runAndAdvance(page: Page): void {
  const views = selectedViews(page);
  page.run(views);
  const last = views.at(-1);
  const cells = page.cells.peek();
  const index = last ? cells.indexOf(last) : -1;
  const next = cells[index + 1];
  if (next) page.select(next.key, { focus: true });
  else if (last && !page.readOnly) {
    page.select(last.key);
    insert(page, "below", true);
  }
}

function runInPlace(page: Page): void {
  const views = selectedViews(page);
  page.run(views);
  page.focusCell();
}

function runAndInsert(page: Page): void {
  const views = selectedViews(page);
  page.run(views);
  const last = views.at(-1);
  if (last) page.select(last.key);
  insert(page, "below", true);
}

function step(page: Page, by: number, extend = false): void {
  const cells = page.cells.peek();
  const next = cells[Math.max(0, Math.min(cells.length - 1, page.activeIndex + by))];
  if (next) page.select(next.key, { focus: true, extend });
}

function to(page: Page, end: "first" | "last"): void {
  const cells = page.cells.peek();
  const target = end === "first" ? cells[0] : cells.at(-1);
  if (target) page.select(target.key, { focus: true });
}

function remove(page: Page): void {
  const ids = page.selectedIds;
  const index = Math.min(...selectedViews(page).map((view) => page.cells.peek().indexOf(view)));
  page.notebook.remove(ids);
  const next = page.cells.peek()[Math.min(index, page.cells.peek().length - 1)];
  if (next) page.select(next.key, { focus: true });
  page.announce(ids.length === 1 ? "Cell deleted" : `${ids.length} cells deleted`);
}

function copy(page: Page): void {
  const cells = selectedViews(page).map((view) => view.cell.peek().toJson());
  const everywhere = page.clipboard.put(cells);
  const count = cells.length;
  page.announce(`${count === 1 ? "Cell" : `${count} cells`} copied${everywhere ? "" : ", for this notebook only"}`);
}

function paste(page: Page, where: "above" | "below"): void {
  const cells = [...page.clipboard.cells.peek()];
  if (cells.length === 0) return;
  const indices = selectedViews(page).map((view) => page.cells.peek().indexOf(view));
  const index = where === "above" ? Math.min(...indices) : Math.max(...indices) + 1;
  page.selectIds(page.notebook.insert(index, cells));
}

function duplicate(page: Page): void {
  const views = selectedViews(page);
  const last = views.at(-1);
  if (!last) return;
  const jsons = views.map((view) => view.cell.peek().toJson());
  page.selectIds(page.notebook.insert(page.cells.peek().indexOf(last) + 1, jsons));
}

function move(page: Page, by: number): void {
  page.notebook.move(page.selectedIds, by);
  page.focusCell();
}

function merge(page: Page): void {
  let ids = page.selectedIds;
  if (ids.length === 1) {
    const below = page.cells.peek()[page.activeIndex + 1];
    if (below) ids = [...ids, below.id];
  }
  const id = page.notebook.merge(ids);
  if (id) page.select(id, { focus: true });
}

function split(page: Page): void {
  const view = page.activeView;
  if (!view?.editor) return;
  const ids = page.notebook.split(view.id, view.editor.cuts);
  const last = ids.at(-1);
  if (last) page.editCell(last, "start");
}

function changeType(page: Page, type: CellType): void {
  page.notebook.changeType(page.selectedIds, type);
  for (const view of selectedViews(page)) view.editing.value = type === "markdown";
  page.focusCell();
}

function heading(page: Page, level: number): void {
  changeType(page, "markdown");
  for (const id of page.selectedIds) {
    const source = page.notebook.find(id)?.source ?? "";
    page.notebook.setSource(id, `${"#".repeat(level)} ${source.replace(/^#{1,6}\s+/, "")}`);
  }
}

function toggleHidden(page: Page, part: "outputs" | "source", all = false): void {
  const views = all ? page.cells.peek() : selectedViews(page);
  const hide = views.some(
    (view) => !view.cell.peek().hidden(part) && (part === "source" || view.cell.peek().outputCount > 0),
  );
  page.notebook.setHidden(
    views.filter((view) => view.cell.peek().type === "code").map((view) => view.id),
    part,
    hide,
  );
}

function undo(page: Page, how: "undo" | "redo"): void {
  const before = new Set(page.cells.peek().map((view) => view.id));
  const done = how === "undo" ? page.notebook.undo() : page.notebook.redo();
  page.announce(done ? (how === "undo" ? "Undone" : "Redone") : `Nothing to ${how}`);
  // A cell that is there again is where the next key acts, and is brought into view.
  const back = page.cells.peek().find((view) => !before.has(view.id));
  if (back) page.selectIds([back.id]);
  else page.focusCell();
}

function scroll(page: Page, pages: number): void {
  scrollBy({ top: innerHeight * 0.8 * pages });
  // What is seen becomes active, so that the next key acts there.
  afterDrawing(() => {
    const seen = page.cells.peek().find((view) => (view.element?.getBoundingClientRect().bottom ?? 0) > 120);
    if (!seen) return;
    page.select(seen.key);
    seen.element?.focus({ preventScroll: true });
  });
}

function edit(page: Page): void {
  page.editCell();
}

function leaveEditor(page: Page): void {
  page.focusCell();
}

export const ACTIONS = {
  "run-and-advance": reads("Run selected cells", runAndAdvance),
  "run-in-place": reads("Run selected cells and stay", runInPlace),
  "run-and-insert": writes("Run selected cells and insert below", runAndInsert),
  "run-all": reads("Run all cells", (page) => page.run(page.cells.peek())),
  "run-above": reads("Run all cells above", (page) => page.run(page.cells.peek().slice(0, page.activeIndex))),
  "run-below": reads("Run selected cell and all below", (page) => page.run(page.cells.peek().slice(page.activeIndex))),
  interrupt: reads("Interrupt kernel", (page) => void page.request("interrupt")),
  restart: reads("Restart kernel", (page) => void restartKernel(page, {})),
  "restart-run-all": reads("Restart kernel and run all cells", (page) => void restartKernel(page, { runAll: true })),
  "restart-clear": writes("Restart kernel and clear all outputs", (page) => void restartKernel(page, { clear: true })),
  "change-kernel": reads("Change kernel", (page) => void changeKernel(page)),
  "shut-down-kernel": reads("Shut down kernel", (page) => void shutDownKernel(page)),
  save: reads("Save notebook", (page) => void page.request("save")),
  "insert-above": writes("Insert cell above", (page) => insert(page, "above")),
  "insert-below": writes("Insert cell below", (page) => insert(page, "below")),
  delete: writes("Delete cells", remove),
  cut: writes("Cut cells", (page) => {
    copy(page);
    remove(page);
  }),
  copy: reads("Copy cells", copy),
  "paste-below": writes("Paste cells below", (page) => paste(page, "below")),
  "paste-above": writes("Paste cells above", (page) => paste(page, "above")),
  duplicate: writes("Duplicate cells", duplicate),
  "move-up": writes("Move cells up", (page) => move(page, -1)),
  "move-down": writes("Move cells down", (page) => move(page, 1)),
  merge: writes("Merge cells", merge),
  split: writes("Split cell at cursor", split),
  undo: writes("Undo cell operation", (page) => undo(page, "undo")),
  redo: writes("Redo cell operation", (page) => undo(page, "redo")),
  "to-code": writes("Change to code", (page) => changeType(page, "code")),
  "to-markdown": writes("Change to Markdown", (page) => changeType(page, "markdown")),
  "to-raw": writes("Change to raw", (page) => changeType(page, "raw")),
  "heading-1": writes("Change to heading 1", (page) => heading(page, 1)),
  "heading-2": writes("Change to heading 2", (page) => heading(page, 2)),
  "heading-3": writes("Change to heading 3", (page) => heading(page, 3)),
  "heading-4": writes("Change to heading 4", (page) => heading(page, 4)),
  "heading-5": writes("Change to heading 5", (page) => heading(page, 5)),
  "heading-6": writes("Change to heading 6", (page) => heading(page, 6)),
  "clear-outputs": writes("Clear outputs of selected cells", (page) => page.notebook.clearOutputs(page.selectedIds)),
  "clear-all-outputs": writes("Clear all outputs", (page) =>
    page.notebook.clearOutputs(page.cells.peek().map((view) => view.id)),
  ),
  "toggle-outputs": writes("Show or hide outputs", (page) => toggleHidden(page, "outputs")),
  "toggle-all-outputs": writes("Show or hide all outputs", (page) => toggleHidden(page, "outputs", true)),
  "toggle-source": writes("Show or hide code", (page) => toggleHidden(page, "source")),
  "line-numbers": reads("Show or hide line numbers", (page) => {
    page.lineNumbers.value = !page.lineNumbers.peek();
  }),
  "select-previous": reads("Select cell above", (page) => step(page, -1)),
  "select-next": reads("Select cell below", (page) => step(page, 1)),
  "extend-up": reads("Extend selection up", (page) => step(page, -1, true)),
  "extend-down": reads("Extend selection down", (page) => step(page, 1, true)),
  "select-first": reads("Go to first cell", (page) => to(page, "first")),
  "select-last": reads("Go to last cell", (page) => to(page, "last")),
  "select-all": reads("Select all cells", (page) => {
    const cells = page.cells.peek();
    page.anchor.value = cells[0]?.key ?? "";
    page.active.value = cells.at(-1)?.key ?? "";
  }),
  "edit-cell": reads("Edit cell", edit),
  "leave-editor": reads("Leave the editor", leaveEditor),
  "scroll-down": reads("Scroll down", (page) => scroll(page, 1)),
  "scroll-up": reads("Scroll up", (page) => scroll(page, -1)),
  history: reads("History", (page) => {
    page.historyShown.value = true;
  }),
  find: reads("Find in notebook", (page) => {
    page.findShown.value += 1;
  }),
  help: reads("Keyboard shortcuts", (page) => {
    page.helpShown.value = true;
  }),
} as const satisfies Record<string, Action>;

export type ActionName = keyof typeof ACTIONS;

/** Does it, unless it changes a notebook that may not be changed. */
export function act(page: Page, name: ActionName): void {
  const action: Action = ACTIONS[name];
  if (action.writes && page.readOnly) {
    page.announce("This notebook is read-only.");
    return;
  }
  action.run(page);
}
