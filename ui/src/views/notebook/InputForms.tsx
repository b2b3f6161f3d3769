/** What a running cell asks for with `input()` or `getpass()`; whoever answers first, on whatever page, answers. */
import { useComputed } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Button } from "../common";
import type { CellView } from "./cells";
import type { Page } from "./page";
import type { InputRequest } from "./server_state";

export function InputForms({ page, view }: { page: Page; view: CellView }): JSX.Element {
  const requests = useComputed(() => page.server.inputs.value.filter((input) => input.cell === view.id)).value;
  return (
    <>
      {requests.map((input) => (
        <InputForm key={input.request} page={page} view={view} input={input} />
      ))}
    </>
  );
}

function InputForm({ page, view, input }: { page: Page; view: CellView; input: InputRequest }): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  const id = useId();
  useEffect(() => {
    page.announce(`The kernel asks: ${input.prompt || "for input"}`);
    // The focus goes to the question when it would otherwise be on the cell that asks, or nowhere; and when nothing was done
    // on this page since it ran the cell: the answer is typed next, and as keys of the notebook it would change cells.
    const focused = document.activeElement;
    if (page.untouchedSinceRun(view.id)) page.showQuestion(view.id);
    else if (focused === document.body || focused === view.element) field.current?.focus({ preventScroll: true });
  }, []);
  return (
    <form
      class="input-form"
      onSubmit={(event) => {
        event.preventDefault();
        void page.request("input", { request: input.request, value: field.current?.value ?? "" });
        // Back to where the keys were: after Shift+Enter that is the next cell.
        (page.activeView ?? view).element?.focus({ preventScroll: true });
      }}
    >
      <label for={id}>{input.prompt || "Input:"}</label>
      {input.password ? (
        <input ref={field} id={id} class="input" type="password" autocomplete="off" />
      ) : (
        <input ref={field} id={id} class="input" type="text" autocomplete="off" spellcheck={false} />
      )}
      <Button variant="primary" type="submit">
        Send
      </Button>
    </form>
  );
}
