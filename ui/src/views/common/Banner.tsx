import type { ComponentChildren, JSX } from "preact";
import { IconButton } from "./Button";
import { Icon } from "./Icon";
import { CloseIcon, ErrorIcon, InfoIcon, SuccessIcon, WarningIcon } from "./icons";

export type Level = "info" | "success" | "warning" | "error";

export const LEVEL_ICONS = { info: InfoIcon, success: SuccessIcon, warning: WarningIcon, error: ErrorIcon };

/** A message that stays in the page until its cause is gone or it is dismissed. Errors are announced at once, others politely. */
export function Banner({
  level = "info",
  children,
  actions,
  onDismiss,
}: {
  level?: Level;
  children: ComponentChildren;
  actions?: ComponentChildren;
  onDismiss?: (() => void) | undefined;
}): JSX.Element {
  return (
    <div class={`banner banner-${level}`} role={level === "error" ? "alert" : "status"}>
      <Icon icon={LEVEL_ICONS[level]} />
      <div class="banner-text">{children}</div>
      {actions && <div class="banner-actions">{actions}</div>}
      {onDismiss && <IconButton label="Dismiss" icon={CloseIcon} onClick={onDismiss} />}
    </div>
  );
}
