/** JSON as a tree that opens level by level; what is closed is not in the page. */
import { element, numberText } from "./dom";

/** Entries drawn at once; more on request. */
const PAGE = 100;
/** A long string is shortened in the tree. */
const LONGEST_STRING = 2_000;

/** @param open whether the first level is open. */
export function renderJson(place: HTMLElement, value: unknown, open: boolean): void {
  const root = element("div", { class: "json" });
  root.append(node(null, value, open));
  place.append(root);
}

function node(key: string | null, value: unknown, open: boolean): HTMLElement {
  const name = key === null ? [] : [element("span", { class: "json-key" }, key), ": "];
  if (typeof value !== "object" || value === null) return element("div", { class: "json-leaf" }, ...name, leaf(value));
  const entries = Object.entries(value);
  const [left, right] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  const count = `${numberText(entries.length)} ${Array.isArray(value) ? "item" : "key"}${entries.length === 1 ? "" : "s"}`;
  if (entries.length === 0) return element("div", { class: "json-leaf" }, ...name, `${left}${right}`);
  const summary = element(
    "summary",
    {},
    ...name,
    element("span", { class: "json-count" }, `${left} ${count} ${right}`),
  );
  const details = element("details", { class: "json-node" }, summary);
  const fill = () => {
    if (!details.open || details.childElementCount > 1) return;
    const list = element("div", { class: "json-children" });
    addPage(list, entries, 0);
    details.append(list);
  };
  details.addEventListener("toggle", fill);
  details.open = open;
  fill();
  return details;
}

function addPage(list: HTMLElement, entries: [string, unknown][], from: number): void {
  for (const [key, value] of entries.slice(from, from + PAGE)) list.append(node(key, value, false));
  const rest = entries.length - from - PAGE;
  if (rest <= 0) return;
  const more = element(
    "button",
    { type: "button", class: "button button-quiet output-button" },
    `Show more (${numberText(rest)})`,
  );
  more.addEventListener("click", () => {
    more.remove();
    addPage(list, entries, from + PAGE);
  });
  list.append(more);
}

function leaf(value: unknown): HTMLElement {
  if (typeof value !== "string")
    return element("span", { class: `json-${value === null ? "null" : typeof value}` }, String(value));
  const shown =
    value.length > LONGEST_STRING
      ? `${value.slice(0, LONGEST_STRING)}… (${numberText(value.length)} characters)`
      : value;
  return element("span", { class: "json-string" }, JSON.stringify(shown));
}
