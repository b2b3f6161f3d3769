/**
 * Drawing at once. What a key did must be on the page, and the focus where it belongs, before the next key comes: a letter
 * meant for a new cell's editor would otherwise be a command, and a command typed into an editor that was just left.
 */
import { options } from "preact";

let due: (() => void) | null = null;
let drawing = false;

function draw(): void {
  const process = due;
  if (!process || drawing) return;
  due = null;
  drawing = true;
  try {
    process();
  } finally {
    drawing = false;
  }
}

/** Preact draws in a microtask, as it does by itself; or earlier, when {@link afterDrawing} wants it. */
options.debounceRendering = (process) => {
  due = process;
  queueMicrotask(draw);
};

/** Draws what has changed, then does the action. Not inside a batch of signals: what that changes is not drawn yet. */
export function afterDrawing(action: () => void): void {
  draw();
  action();
}
