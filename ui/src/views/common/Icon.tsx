import { createElement, type JSX } from "preact";

/** A drawing as Lucide gives it: its elements with their attributes, in a 24 by 24 box. */
export type IconNode = [tag: string, attributes: Record<string, string | number | undefined>][];

/** An inline SVG in the colour of the text around it. It only decorates: the control that holds it has the name. */
export function Icon({ icon, size = 18 }: { icon: IconNode; size?: number }): JSX.Element {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.75"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {icon.map(([tag, attributes], index) => createElement(tag, { ...attributes, key: index }))}
    </svg>
  );
}
