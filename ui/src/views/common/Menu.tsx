import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon, type IconNode } from "./Icon";
import { CheckIcon, ChevronDownIcon } from "./icons";

/** One row of a menu; `"separator"` draws a line between groups. */
export type MenuItem =
  | "separator"
  | {
      label: string;
      onSelect?: () => void;
      /** Makes the row a link instead, so that it can be opened in a new tab. */
      href?: string;
      /** The file name that the link is saved under. */
      download?: string;
      icon?: IconNode;
      /** Shown beside the label, quietly: a shortcut, a state. */
      hint?: string;
      danger?: boolean;
      disabled?: boolean;
      /** Makes the row one of a choice; true: the one in force. */
      checked?: boolean;
    };

export interface MenuButtonProps {
  /** The accessible name of the button, and its tooltip when it shows no words. */
  label: string;
  /** Asked when the menu opens, so that closed menus cost nothing. */
  items: readonly MenuItem[] | (() => readonly MenuItem[]);
  icon?: IconNode;
  /** Words on the button. */
  children?: ComponentChildren;
  variant?: "plain" | "primary" | "quiet";
  /** Shows a chevron beside the words. */
  chevron?: boolean;
  class?: string;
  disabled?: boolean;
  tabIndex?: number;
}

/**
 * A button that opens a menu, as https://www.w3.org/WAI/ARIA/apg/patterns/menu-button/ has it: arrow keys, Home, End,
 * typing a first letter; Escape, Tab and a click elsewhere close it. The menu lies in the top layer (popover), so nothing cuts it off.
 */
export function MenuButton(props: MenuButtonProps): JSX.Element {
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  const close = (refocus: boolean) => {
    setOpen(false);
    if (refocus) button.current?.focus();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        class={`button button-${props.variant ?? "quiet"} ${props.children ? "" : "icon-button"} ${props.class ?? ""}`}
        aria-label={props.label}
        title={props.children ? undefined : props.label}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        disabled={props.disabled}
        tabIndex={props.tabIndex}
        onClick={() => setOpen(!open)}
        onKeyDown={(event) => {
          if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
          event.preventDefault();
          event.stopPropagation();
          setOpen(true);
        }}
      >
        {props.icon && <Icon icon={props.icon} />}
        {props.children}
        {props.chevron && <Icon icon={ChevronDownIcon} size={14} />}
      </button>
      {open && (
        <MenuList
          id={id}
          label={props.label}
          anchor={button}
          close={close}
          items={typeof props.items === "function" ? props.items() : props.items}
        />
      )}
    </>
  );
}

export interface MenuListProps {
  id: string;
  label: string;
  items: readonly MenuItem[];
  anchor: { readonly current: HTMLElement | null };
  /** Takes the menu away; with true, gives the focus back to the anchor. */
  close: (refocus: boolean) => void;
}

/** The menu alone, open, below its anchor: for lists whose rows share one menu. */
export function MenuList({ id, label, items, anchor, close }: MenuListProps): JSX.Element {
  const list = useRef<HTMLDivElement>(null);

  // Once: a menu is made anew each time it opens.
  useLayoutEffect(() => {
    const element = list.current;
    if (!element || !anchor.current) return;
    element.showPopover?.();
    place(element, anchor.current);
    rows(element)[0]?.focus();
    const outside = (event: Event) => {
      const target = event.target as Node;
      if (!element.contains(target) && !anchor.current?.contains(target)) close(false);
    };
    const gone = () => close(false);
    document.addEventListener("pointerdown", outside, true);
    addEventListener("resize", gone);
    return () => {
      document.removeEventListener("pointerdown", outside, true);
      removeEventListener("resize", gone);
    };
  }, []);

  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.key === "Escape" || event.key === "Tab") {
      if (event.key === "Escape") event.preventDefault();
      close(true);
      return;
    }
    const all = rows(list.current);
    const next = nextRow(all, document.activeElement as HTMLElement, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  };

  return (
    <div
      ref={list}
      id={id}
      class="menu"
      role="menu"
      aria-label={label}
      popover="manual"
      onKeyDown={onKeyDown}
      tabIndex={-1}
    >
      {items.map((item, index) =>
        item === "separator" ? (
          <hr key={index} class="menu-separator" />
        ) : (
          <MenuRow key={index} item={item} close={close} />
        ),
      )}
    </div>
  );
}

function MenuRow({
  item,
  close,
}: {
  item: Exclude<MenuItem, "separator">;
  close: (refocus: boolean) => void;
}): JSX.Element {
  const body = (
    <>
      <span class="menu-icon">
        {item.checked ? <Icon icon={CheckIcon} size={16} /> : item.icon && <Icon icon={item.icon} size={16} />}
      </span>
      <span class="menu-label">{item.label}</span>
      {item.hint && <span class="menu-hint">{item.hint}</span>}
    </>
  );
  const className = `menu-item ${item.danger ? "menu-danger" : ""}`;
  if (item.href !== undefined) {
    return (
      <a
        class={className}
        role="menuitem"
        tabIndex={-1}
        href={item.href}
        download={item.download}
        onClick={() => close(true)}
      >
        {body}
      </a>
    );
  }
  const choice =
    item.checked === undefined
      ? { role: "menuitem" as const }
      : { role: "menuitemradio" as const, "aria-checked": item.checked };
  return (
    <button
      type="button"
      class={className}
      {...choice}
      tabIndex={-1}
      disabled={item.disabled}
      onClick={() => {
        close(true);
        item.onSelect?.();
      }}
    >
      {body}
    </button>
  );
}

function rows(list: HTMLElement | null): HTMLElement[] {
  return [...(list?.querySelectorAll<HTMLElement>(".menu-item:not(:disabled)") ?? [])];
}

function nextRow(all: HTMLElement[], focused: HTMLElement, key: string): HTMLElement | undefined {
  const at = all.indexOf(focused);
  if (key === "ArrowDown") return all[(at + 1) % all.length];
  if (key === "ArrowUp") return all[(at - 1 + all.length) % all.length];
  if (key === "Home") return all[0];
  if (key === "End") return all.at(-1);
  if (key.length !== 1 || key === " ") return undefined;
  const wanted = key.toLowerCase();
  return [...all.slice(at + 1), ...all.slice(0, at + 1)].find((row) =>
    row.textContent?.trim().toLowerCase().startsWith(wanted),
  );
}

/**
 * Below the button and aligned with its left edge; where there is no room, above it or with its right edge. A menu that fits on
 * neither side takes the larger one, and scrolls.
 */
function place(menu: HTMLElement, anchor: HTMLElement): void {
  const margin = 8;
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = innerHeight - margin - (at.bottom + 4);
  const above = at.top - 4 - margin;
  const under = height <= below || below >= above;
  menu.style.maxHeight = `${under ? below : above}px`;
  menu.style.top = `${under ? at.bottom + 4 : at.top - 4 - Math.min(height, above)}px`;
  const fits = at.left + width + margin <= innerWidth;
  const left = Math.max(margin, fits ? at.left : Math.min(at.right, innerWidth - margin) - width);
  menu.style.left = `${left}px`;
}
