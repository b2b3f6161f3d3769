import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { LEVEL_ICONS, type Level } from "./Banner";
import { Button, IconButton } from "./Button";
import { Icon } from "./Icon";
import { CloseIcon } from "./icons";

interface Toast {
  key: number;
  level: Level;
  text: string;
  action?: { label: string; run: () => void };
}

const toasts = signal<readonly Toast[]>([]);
let lastKey = 0;

/** How long a toast stays, in ms. Errors and toasts with an action stay until dismissed (WCAG 2.2.1: no time limit on what must be read). */
const SECONDS_TO_READ = 6_000;

/** Says something that needs no answer, at the foot of the page. Returns "take it away". */
export function toast(
  text: string,
  options: { level?: Level; action?: { label: string; run: () => void } } = {},
): () => void {
  lastKey += 1;
  const entry: Toast = {
    key: lastKey,
    level: options.level ?? "info",
    text,
    ...(options.action && { action: options.action }),
  };
  const dismiss = () => {
    toasts.value = toasts.value.filter((other) => other.key !== entry.key);
  };
  toasts.value = [...toasts.value, entry];
  if (entry.level !== "error" && !entry.action) setTimeout(dismiss, SECONDS_TO_READ);
  return dismiss;
}

/** Draws the toasts; once per page. */
export function Toaster(): JSX.Element {
  return (
    <div class="toasts" role="log" aria-live="polite" aria-label="Messages">
      {toasts.value.map((entry) => (
        <div key={entry.key} class={`toast toast-${entry.level}`}>
          <Icon icon={LEVEL_ICONS[entry.level]} />
          <span class="toast-text">{entry.text}</span>
          {entry.action && (
            <Button
              variant="quiet"
              onClick={() => {
                toasts.value = toasts.value.filter((other) => other.key !== entry.key);
                entry.action?.run();
              }}
            >
              {entry.action.label}
            </Button>
          )}
          <IconButton
            label="Dismiss message"
            icon={CloseIcon}
            onClick={() => {
              toasts.value = toasts.value.filter((other) => other.key !== entry.key);
            }}
          />
        </div>
      ))}
    </div>
  );
}
