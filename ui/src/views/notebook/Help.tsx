/** The keyboard shortcuts, drawn from the table that the page obeys. */
import type { JSX } from "preact";
import { Dialog } from "../common";
import type { Page } from "./page";
import { caps, IS_MAC, labelOf, SHORTCUTS, type Shortcut } from "./shortcuts";

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
              {SHORTCUTS.filter((shortcut) => shortcut.group === group).map((shortcut) => (
                <Row key={shortcut.action + shortcut.keys[0]} shortcut={shortcut} />
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}

function Row({ shortcut }: { shortcut: Shortcut }): JSX.Element {
  return (
    <div>
      <dt>{labelOf(shortcut.action)}</dt>
      <dd>
        {shortcut.keys.map((written, index) => (
          <span key={written}>
            {index > 0 && <span class="help-or"> or </span>}
            {caps(written, IS_MAC).map((keys, at) => (
              <span key={at} class="help-key">
                {keys.map((cap) => (
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
