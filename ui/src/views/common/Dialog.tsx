import { type ComponentChildren, type JSX, render } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Button, IconButton } from "./Button";
import { CloseIcon } from "./icons";

export interface DialogProps {
  title: string;
  /** Called for Escape, the close button and a click beside the dialog. */
  onClose: () => void;
  children: ComponentChildren;
  /** The row of buttons at its foot. */
  actions?: ComponentChildren;
  /** Wide enough for a table. */
  wide?: boolean;
}

/** A modal dialog on the native `<dialog>`: the browser keeps the focus in it, and gives it back afterwards. */
export function Dialog({ title, onClose, children, actions, wide }: DialogProps): JSX.Element {
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  // At once, not after the next paint: what is typed right after the key that opened it belongs in here.
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal?.();
    return () => {
      // The browser gives the focus back on close(), but only to a dialog that is still in the page.
      dialog?.close?.();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the keyboard's way is Escape, which the browser turns into "cancel"
    <dialog
      ref={element}
      class={wide ? "dialog dialog-wide" : "dialog"}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === element.current) onClose();
      }}
    >
      <div class="dialog-body">
        <header class="dialog-header">
          <h2 id={titleId}>{title}</h2>
          <IconButton label="Close" icon={CloseIcon} onClick={onClose} />
        </header>
        <div class="dialog-content">{children}</div>
        {actions && <footer class="dialog-actions">{actions}</footer>}
      </div>
    </dialog>
  );
}

export interface Question<Answer extends string> {
  title: string;
  text: ComponentChildren;
  /** From the safest to the most likely; the last one is drawn as the main one. It has the focus, or the first one when the last is a danger. */
  choices: readonly { value: Answer; label: string; danger?: boolean }[];
}

/**
 * Asks in a modal dialog.
 *
 * @returns the chosen value, or null when the dialog was closed without choosing.
 */
export function ask<Answer extends string>(question: Question<Answer>): Promise<Answer | null> {
  const dangerous = question.choices.at(-1)?.danger === true;
  const focused = dangerous ? 0 : question.choices.length - 1;
  return showDialog<Answer>((done) => (
    <Dialog
      title={question.title}
      onClose={() => done(null)}
      actions={question.choices.map((choice, index) => {
        const main = index === question.choices.length - 1;
        const variant = choice.danger ? "danger" : main ? "primary" : "plain";
        return (
          <Button key={choice.value} variant={variant} autofocus={index === focused} onClick={() => done(choice.value)}>
            {choice.label}
          </Button>
        );
      })}
    >
      <p>{question.text}</p>
    </Dialog>
  ));
}

/**
 * Asks for one of a list, as long as it may be.
 *
 * @param question.choices the most likely first: it has the focus.
 * @returns the chosen value, or null when the dialog was closed without choosing.
 */
export function pick(question: {
  title: string;
  text: ComponentChildren;
  choices: readonly { value: string; label: string; note?: string }[];
}): Promise<string | null> {
  return showDialog<string>((done) => (
    <Dialog title={question.title} onClose={() => done(null)}>
      <p>{question.text}</p>
      <ul class="pick">
        {question.choices.map(({ value, label, note }, index) => (
          <li key={value}>
            <Button autofocus={index === 0} onClick={() => done(value)}>
              <span>{label}</span>
              {note && <span class="pick-note">{note}</span>}
            </Button>
          </li>
        ))}
      </ul>
    </Dialog>
  ));
}

/** Asks for a yes: true only if the named action was chosen. */
export async function confirm(question: {
  title: string;
  text: ComponentChildren;
  action: string;
  danger?: boolean;
}): Promise<boolean> {
  const choices = [
    { value: "no", label: "Cancel" },
    { value: "yes", label: question.action, danger: question.danger ?? false },
  ] as const;
  return (await ask({ title: question.title, text: question.text, choices })) === "yes";
}

/**
 * Asks for one line of text.
 *
 * @param question.select how many characters of `value` are selected at first, so that a name can be changed without its ending.
 * @param question.check says what is wrong with a text, or "" when nothing is.
 * @param question.carryOut does what was asked for; says why that failed, or "". The dialog stays open with the text until it is done.
 * @returns the text, or null when the dialog was closed.
 */
export function askText(question: {
  title: string;
  label: string;
  value: string;
  action: string;
  select?: number;
  check?: (value: string) => string;
  carryOut?: (value: string) => Promise<string>;
}): Promise<string | null> {
  return showDialog<string>((done) => <TextQuestion {...question} done={done} />);
}

function TextQuestion({
  title,
  label,
  value,
  action,
  select,
  check,
  carryOut,
  done,
}: Parameters<typeof askText>[0] & { done: (answer: string | null) => void }): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const formId = useId();
  const inputId = useId();
  const troubleId = useId();
  // Only when the dialog opens.
  useLayoutEffect(() => {
    input.current?.focus();
    input.current?.setSelectionRange(0, select ?? value.length);
  }, []);
  const [trouble, setTrouble] = useState("");
  const [busy, setBusy] = useState(false);
  const validate = () => {
    const field = input.current;
    field?.setCustomValidity(check?.(field.value.trim()) ?? "");
    setTrouble("");
  };
  // What is under way is done or not: it cannot be called back.
  const cancel = (): void => {
    if (!busy) done(null);
  };
  const submit = async (): Promise<void> => {
    const value = input.current?.value.trim() ?? "";
    if (busy) return;
    setBusy(true);
    let failure: string;
    try {
      failure = (await carryOut?.(value)) ?? "";
    } catch (error) {
      failure = (error as Error).message;
    }
    if (failure === "") return done(value);
    setBusy(false);
    setTrouble(failure);
    input.current?.focus();
  };
  return (
    <Dialog
      title={title}
      onClose={cancel}
      actions={
        <>
          <Button disabled={busy} onClick={cancel}>
            Cancel
          </Button>
          <Button variant="primary" type="submit" form={formId} disabled={busy}>
            {action}
          </Button>
        </>
      }
    >
      <form
        id={formId}
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <label class="field" for={inputId}>
          <span>{label}</span>
          <input
            ref={input}
            id={inputId}
            class="input"
            defaultValue={value}
            required
            autocomplete="off"
            spellcheck={false}
            aria-invalid={trouble !== ""}
            aria-describedby={trouble ? troubleId : undefined}
            onInput={validate}
          />
        </label>
        {trouble && (
          <p id={troubleId} class="field-trouble" role="alert">
            {trouble}
          </p>
        )}
      </form>
    </Dialog>
  );
}

/** Renders a dialog into a place of its own until it is done. @returns what it was done with. */
export function showDialog<Answer>(
  draw: (done: (answer: Answer | null) => void) => JSX.Element,
): Promise<Answer | null> {
  const place = document.body.appendChild(document.createElement("div"));
  return new Promise((resolve) => {
    const done = (answer: Answer | null) => {
      render(null, place);
      place.remove();
      resolve(answer);
    };
    render(draw(done), place);
  });
}
