/** The keyboard shortcuts, drawn from the table that the page obeys. */
import type { JSX } from "preact";
import { Dialog } from "../common";
import type { ActionName } from "./actions";
import type { Page } from "./page";
import { caps, IS_MAC, labelOf, SHORTCUTS, type Shortcut } from "./shortcuts";

/** What CodeMirror brings along (editor.ts), as far as one would look for it. */
const EDITOR_KEYS: readonly (readonly [string, readonly string[]])[] = [
  ["Indent", ["Tab"]],
  ["Indent less", ["Shift-Tab"]],
  ["Comment or uncomment", ["Mod-/"]],
  ["Undo", ["Mod-z"]],
  ["Redo", IS_MAC ? ["Mod-Shift-z"] : ["Ctrl-y", "Ctrl-Shift-z"]],
  ["Move line up", ["Alt-ArrowUp"]],
  ["Move line down", ["Alt-ArrowDown"]],
  ["Copy line down", ["Shift-Alt-ArrowDown"]],
  ["Delete line", ["Mod-Shift-k"]],
];

export function Help({ page }: { page: Page }): JSX.Element | null {
  if (!page.helpShown.value) return null;
  const groups = [...new Set(SHORTCUTS.map((shortcut) => shortcut.group))];
  return (
    <Dialog
      title="Keyboard shortcuts"
      wide
      onClose={() => {
        page.helpShown.value = false;
      }}
    >
      <p class="help-lead">
        Letters and numbers act on cells while no cell is being edited: <kbd>Esc</kbd> leaves the editor,{" "}
        <kbd>Enter</kbd> goes back.
      </p>
      <div class="help-groups">
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {rowsOf(group).map(([action, keys]) => (
                <Row key={action} label={labelOf(action)} keys={keys} />
              ))}
            </dl>
          </section>
        ))}
        <section>
          <h3>In the editor</h3>
          <dl>
            {EDITOR_KEYS.map(([label, keys]) => (
              <Row key={label} label={label} keys={keys} />
            ))}
          </dl>
        </section>
      </div>
    </Dialog>
  );
}

/** One row per action, with all its keys as they are on this kind of keyboard. */
function rowsOf(group: Shortcut["group"]): [ActionName, string[]][] {
  const rows = new Map<ActionName, string[]>();
  for (const { action, keys } of SHORTCUTS.filter((shortcut) => shortcut.group === group)) {
    const known = rows.get(action) ?? [];
    const others = keys.filter(
      (key) => IS_MAC || !keys.includes(key.replace("Mod-", "Ctrl-")) || !key.startsWith("Mod-"),
    );
    rows.set(action, [...known, ...others]);
  }
  return [...rows];
}

function Row({ label, keys }: { label: string; keys: readonly string[] }): JSX.Element {
  return (
    <div>
      <dt>{label}</dt>
      <dd>
        {keys.map((written, index) => (
          <span key={written}>
            {index > 0 && <span class="help-or"> or </span>}
            {caps(written, IS_MAC).map((pressed) => (
              <span key={pressed.join("-")} class="help-key">
                {pressed.map((cap) => (
                  <kbd key={cap}>{cap}</kbd>
                ))}
              </span>
            ))}
          </span>
        ))}
      </dd>
    </div>
  );
}
