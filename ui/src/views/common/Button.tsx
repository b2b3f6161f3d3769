import type { ButtonHTMLAttributes, ComponentChildren, JSX } from "preact";
import { Icon, type IconNode } from "./Icon";

type ButtonAttributes = Omit<ButtonHTMLAttributes<HTMLButtonElement>, "size" | "icon" | "label">;

export interface ButtonProps extends ButtonAttributes {
  /** "primary" for the one thing most people came to do; "danger" for what cannot be taken back. */
  variant?: "plain" | "primary" | "danger" | "quiet";
  icon?: IconNode;
  children?: ComponentChildren;
}

/** A native button with words. */
export function Button({ variant = "plain", icon, children, class: extra, ...rest }: ButtonProps): JSX.Element {
  return (
    <button type="button" {...rest} class={`button button-${variant} ${extra ?? ""}`}>
      {icon && <Icon icon={icon} />}
      {children}
    </button>
  );
}

export interface IconButtonProps extends ButtonAttributes {
  /** The accessible name, which also is the tooltip: says what the button does ("Interrupt kernel"). */
  label: string;
  icon: IconNode;
  /** Added to the tooltip only: the key that does the same. */
  shortcut?: string;
}

/** A native button that shows only an icon. */
export function IconButton({ label, icon, shortcut, class: extra, ...rest }: IconButtonProps): JSX.Element {
  return (
    <button
      type="button"
      {...rest}
      class={`button icon-button button-quiet ${extra ?? ""}`}
      aria-label={label}
      title={shortcut ? `${label} (${shortcut})` : label}
    >
      <Icon icon={icon} />
    </button>
  );
}
