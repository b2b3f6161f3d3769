/** Building elements without HTML strings: text stays text, whatever is in it. */

type Child = Node | string;

/** @param attributes set as attributes, except functions, which become listeners ("click": ...). */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string | ((event: Event) => void)>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A button in the theme's looks. */
export function button(text: string, onClick: () => void, kind = "quiet"): HTMLButtonElement {
  return element("button", { type: "button", class: `button button-${kind} output-button`, click: onClick }, text);
}

/** "12 MB": what a person says. */
export function sizeText(bytes: number): string {
  if (bytes === 1) return "1 byte";
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** "1,000,000" in the reader's own way of writing numbers. */
export function numberText(value: number): string {
  return value.toLocaleString();
}
