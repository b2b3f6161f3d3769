import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

/** Text needs 4.5 : 1 (WCAG 2.2, 1.4.3 AA); borders of controls and focus rings 3 : 1 (1.4.11, 2.4.11). */
const TEXT = 4.5;
const CONTROL = 3;

const SURFACES = ["bg", "surface", "sunken", "raised", "hover"];
const PAIRS: [foreground: string, backgrounds: string[], ratio: number][] = [
  ["text", [...SURFACES, "selection", "accent-soft", "danger-soft", "warning-soft", "success-soft"], TEXT],
  ["text-muted", [...SURFACES, "accent-soft"], TEXT],
  ["text-faint", ["bg", "surface"], TEXT],
  ["accent", [...SURFACES, "accent-soft"], TEXT],
  ["accent-hover", [...SURFACES, "accent-soft"], TEXT],
  ["on-accent", ["accent", "accent-hover"], TEXT],
  ["on-danger", ["danger"], TEXT],
  ["danger", [...SURFACES, "danger-soft"], TEXT],
  ["warning", ["bg", "surface", "warning-soft"], TEXT],
  ["success", ["bg", "surface", "success-soft"], TEXT],
  ...["keyword", "string", "number", "comment", "function", "type", "operator", "meta"].map(
    (name): [string, string[], number] => [`code-${name}`, ["bg", "surface", "sunken"], TEXT],
  ),
  ...["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"].flatMap(
    (name): [string, string[], number][] => [
      [`ansi-${name}`, ["bg", "surface"], TEXT],
      [`ansi-bright-${name}`, ["bg", "surface"], TEXT],
    ],
  ),
  ["border-strong", ["bg", "surface"], CONTROL],
  ["focus", SURFACES, CONTROL],
];

const css = readFileSync(new URL("./tokens.css", import.meta.url), "utf8");
const tokens = new Map(
  [...css.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map((m) => [m[1], [m[2], m[3]]]),
);

describe.each(["light", "dark"] as const)("the %s theme", (theme) => {
  it.each(PAIRS.flatMap(([fg, backgrounds, ratio]) => backgrounds.map((bg) => [fg, bg, ratio] as const)))(
    "shows --%s on --%s at %s : 1 or more",
    (fg, bg, ratio) => {
      expect(contrast(colour(fg, theme), colour(bg, theme))).toBeGreaterThanOrEqual(ratio);
    },
  );
});

function colour(token: string, theme: "light" | "dark"): string {
  const value = tokens.get(token)?.[theme === "light" ? 0 : 1];
  if (!value) throw new Error(`tokens.css has no colour --${token}`);
  return value;
}

/** https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio */
function contrast(a: string, b: string): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

function luminance(hex: string): number {
  const channel = (at: number) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}
