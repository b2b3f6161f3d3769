/**
 * Terminal text: what the escape sequences in it mean (pure; ansi_dom.ts draws it).
 *
 * Colours and styles (SGR of ECMA-48, with 256 and 24-bit colours) and hyperlinks (OSC 8) are understood; every other
 * sequence is taken out. The state is a value, so that a reader can stop anywhere, keep it, and go on from there.
 */

/** 0 to 15: a colour of the theme; otherwise a CSS colour that the text asked for. */
export type AnsiColor = number | string;

export interface AnsiStyle {
  readonly fg: AnsiColor | null;
  readonly bg: AnsiColor | null;
  readonly bold: boolean;
  readonly dim: boolean;
  readonly italic: boolean;
  readonly underline: boolean;
  readonly strike: boolean;
  readonly inverse: boolean;
  readonly hidden: boolean;
  /** Target of an OSC 8 hyperlink; http and https only. */
  readonly link: string | null;
}

export const PLAIN: AnsiStyle = {
  fg: null,
  bg: null,
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  strike: false,
  inverse: false,
  hidden: false,
  link: null,
};

export interface AnsiRun {
  readonly text: string;
  readonly style: AnsiStyle;
}

export interface AnsiParsed {
  readonly runs: readonly AnsiRun[];
  /** The style that text after this would have. */
  readonly style: AnsiStyle;
  /** Characters read; less than the text's length when it ends inside a sequence. */
  readonly consumed: number;
}

// biome-ignore-start lint/suspicious/noControlCharactersInRegex: control characters are what this module is about
/** CSI, OSC and other string sequences, two-character escapes, and the control characters that have no looks. */
const SEQUENCE =
  /\x1b\[([0-?]*)([ -/]*)([@-~])|\x1b\]([^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]*[0-OQ-WYZ\\`-~]|[\x00-\x08\x0b\x0c\x0e-\x1a\x7f]/g;

/** The beginning of a sequence at the end of a text: more may come. */
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?$/;

const OVERWRITES = /[\r\x08]/;
const BACKSPACE = /[^\n\x08]\x08/g;
const LEADING_BACKSPACE = /(^|\n)\x08+/g;
const ESCAPE = /\x1b/;
// biome-ignore-end lint/suspicious/noControlCharactersInRegex: see above

/** A sequence longer than this that has not ended is taken for text gone wrong, not waited for. */
const LONGEST_SEQUENCE = 4096;

/**
 * Reads a piece of terminal text.
 *
 * @param style what the text before it left in force.
 */
export function parseAnsi(text: string, style: AnsiStyle = PLAIN): AnsiParsed {
  const end = unfinishedFrom(text);
  const runs: AnsiRun[] = [];
  let current = style;
  let at = 0;
  const push = (to: number) => {
    if (to <= at) return;
    const last = runs.at(-1);
    const piece = text.slice(at, to);
    if (last && last.style === current) runs[runs.length - 1] = { text: last.text + piece, style: current };
    else runs.push({ text: piece, style: current });
  };
  SEQUENCE.lastIndex = 0;
  for (let match = SEQUENCE.exec(text); match && match.index < end; match = SEQUENCE.exec(text)) {
    push(match.index);
    at = match.index + match[0].length;
    if (match[3] === "m" && !match[2]) current = applySgr(current, match[1] ?? "");
    else if (match[4] !== undefined) current = applyOsc(current, match[4]);
  }
  push(end);
  return { runs, style: current, consumed: end };
}

/**
 * What a terminal shows of a text with carriage returns and backspaces: later characters overwrite earlier ones of their line.
 * (The server does this to what kernels send; files written by others have it still.)
 */
export function overwritten(text: string): string {
  if (!OVERWRITES.test(text)) return text;
  let shown = text.replaceAll("\r\n", "\n");
  for (let before = ""; before !== shown; ) {
    before = shown;
    shown = shown.replace(BACKSPACE, "");
  }
  shown = shown.replace(LEADING_BACKSPACE, "$1");
  if (!shown.includes("\r")) return shown;
  return shown
    .split("\n")
    .map((line) => (line.includes("\r") ? line.split("\r").reduce(overlay) : line))
    .join("\n");
}

function overlay(below: string, above: string): string {
  // Columns cannot be counted across escapes; then the later text wins whole, as it does for progress bars.
  if (ESCAPE.test(below) || ESCAPE.test(above)) return above || below;
  return above + below.slice(above.length);
}

function unfinishedFrom(text: string): number {
  const from = text.lastIndexOf("\x1b", text.length - 1);
  if (from < 0 || text.length - from > LONGEST_SEQUENCE) return text.length;
  const tail = text.slice(Math.max(0, from - LONGEST_SEQUENCE));
  const match = UNFINISHED.exec(tail);
  return match ? text.length - tail.length + match.index : text.length;
}

/** https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters */
function applySgr(style: AnsiStyle, parameters: string): AnsiStyle {
  let next = style;
  const codes = parameters.split(/[;:]/).map((code) => (code === "" ? 0 : Number(code)));
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] ?? 0;
    if (code === 38 || code === 48) {
      const [color, used] = extendedColor(codes, at + 1);
      if (color !== null) next = { ...next, [code === 38 ? "fg" : "bg"]: color };
      at += used;
    } else {
      next = applyCode(next, code);
    }
  }
  return next;
}

const SWITCHES: Readonly<Record<number, Partial<AnsiStyle>>> = {
  1: { bold: true },
  2: { dim: true },
  3: { italic: true },
  4: { underline: true },
  7: { inverse: true },
  8: { hidden: true },
  9: { strike: true },
  21: { underline: true },
  22: { bold: false, dim: false },
  23: { italic: false },
  24: { underline: false },
  27: { inverse: false },
  28: { hidden: false },
  29: { strike: false },
  39: { fg: null },
  49: { bg: null },
};

function applyCode(style: AnsiStyle, code: number): AnsiStyle {
  if (code === 0) return style.link === null ? PLAIN : { ...PLAIN, link: style.link };
  const change = SWITCHES[code];
  if (change) return { ...style, ...change };
  if (code >= 30 && code <= 37) return { ...style, fg: code - 30 };
  if (code >= 40 && code <= 47) return { ...style, bg: code - 40 };
  if (code >= 90 && code <= 97) return { ...style, fg: code - 82 };
  if (code >= 100 && code <= 107) return { ...style, bg: code - 92 };
  return style;
}

/** @returns the colour, or null when it makes no sense, and how many codes it took. */
function extendedColor(codes: readonly number[], at: number): [AnsiColor | null, number] {
  if (codes[at] === 5) return [paletteColor(codes[at + 1] ?? -1), 2];
  if (codes[at] !== 2) return [null, 1];
  const rgb = codes.slice(at + 1, at + 4);
  const valid = rgb.length === 3 && rgb.every((channel) => channel >= 0 && channel <= 255);
  return [valid ? `rgb(${rgb.join(", ")})` : null, 4];
}

/** The 256 colours of xterm: 16 of the theme, a cube of 6 by 6 by 6, 24 greys. */
function paletteColor(index: number): AnsiColor | null {
  if (!Number.isInteger(index) || index < 0 || index > 255) return null;
  if (index < 16) return index;
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return `rgb(${grey}, ${grey}, ${grey})`;
  }
  const cube = index - 16;
  const channel = (value: number) => (value === 0 ? 0 : 55 + value * 40);
  return `rgb(${channel(Math.floor(cube / 36))}, ${channel(Math.floor(cube / 6) % 6)}, ${channel(cube % 6)})`;
}

/** https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda (OSC 8 ; parameters ; URI) */
function applyOsc(style: AnsiStyle, command: string): AnsiStyle {
  const match = /^8;[^;]*;(.*)$/s.exec(command);
  if (!match) return style;
  const target = match[1] ?? "";
  const link = /^https?:\/\//i.test(target) ? target : null;
  return link === style.link ? style : { ...style, link };
}
