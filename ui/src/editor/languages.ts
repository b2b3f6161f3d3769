/**
 * Grammars for highlighting and indenting code, by the language name that a kernel gives. Python is always there;
 * others are loaded when a notebook first needs them.
 */
import { pythonLanguage } from "@codemirror/lang-python";
import { defineLanguageFacet, Language, StreamLanguage, type StreamParser } from "@codemirror/language";

type Load = () => Promise<Language>;

function stream<State>(load: () => Promise<StreamParser<State>>): Load {
  return async () => StreamLanguage.define(await load());
}

const clike = () => import("@codemirror/legacy-modes/mode/clike");
const javascript = () => import("@codemirror/legacy-modes/mode/javascript");

/** Names in lower case. What is not here is shown without colours. */
const LANGUAGES: Record<string, Load> = {
  markdown: async () => {
    const { GFM, parser } = await import("@lezer/markdown");
    return new Language(defineLanguageFacet(), parser.configure(GFM), [], "markdown");
  },
  r: stream(async () => (await import("@codemirror/legacy-modes/mode/r")).r),
  julia: stream(async () => (await import("@codemirror/legacy-modes/mode/julia")).julia),
  bash: stream(async () => (await import("@codemirror/legacy-modes/mode/shell")).shell),
  sql: stream(async () => (await import("@codemirror/legacy-modes/mode/sql")).standardSQL),
  javascript: stream(async () => (await javascript()).javascript),
  typescript: stream(async () => (await javascript()).typescript),
  c: stream(async () => (await clike()).c),
  "c++": stream(async () => (await clike()).cpp),
  java: stream(async () => (await clike()).java),
  kotlin: stream(async () => (await clike()).kotlin),
  scala: stream(async () => (await clike()).scala),
  "c#": stream(async () => (await clike()).csharp),
  go: stream(async () => (await import("@codemirror/legacy-modes/mode/go")).go),
  rust: stream(async () => (await import("@codemirror/legacy-modes/mode/rust")).rust),
  ruby: stream(async () => (await import("@codemirror/legacy-modes/mode/ruby")).ruby),
  perl: stream(async () => (await import("@codemirror/legacy-modes/mode/perl")).perl),
  lua: stream(async () => (await import("@codemirror/legacy-modes/mode/lua")).lua),
  haskell: stream(async () => (await import("@codemirror/legacy-modes/mode/haskell")).haskell),
  octave: stream(async () => (await import("@codemirror/legacy-modes/mode/octave")).octave),
  clojure: stream(async () => (await import("@codemirror/legacy-modes/mode/clojure")).clojure),
  fortran: stream(async () => (await import("@codemirror/legacy-modes/mode/fortran")).fortran),
  powershell: stream(async () => (await import("@codemirror/legacy-modes/mode/powershell")).powerShell),
};

const ALIASES: Record<string, string> = {
  ipython: "python",
  python3: "python",
  sage: "python",
  sh: "bash",
  shell: "bash",
  zsh: "bash",
  matlab: "octave",
  js: "javascript",
  ts: "typescript",
  cpp: "c++",
  "c++17": "c++",
  csharp: "c#",
  ".net (c#)": "c#",
};

const known = new Map<string, Language | null>([["python", pythonLanguage]]);
const loading = new Map<string, Promise<Language | null>>();

function canonical(name: string): string {
  const lower = name.toLowerCase();
  return ALIASES[lower] ?? lower;
}

/** The grammar if it is there now; null: there is none; undefined: ask {@link loadLanguage}. */
export function knownLanguage(name: string): Language | null | undefined {
  const wanted = canonical(name);
  return wanted in LANGUAGES ? known.get(wanted) : (known.get(wanted) ?? null);
}

/** Loads a grammar once; null when there is none, or when it could not be loaded (code is then shown plainly). */
export function loadLanguage(name: string): Promise<Language | null> {
  const wanted = canonical(name);
  const now = knownLanguage(wanted);
  if (now !== undefined) return Promise.resolve(now);
  let promise = loading.get(wanted);
  if (!promise) {
    promise = (LANGUAGES[wanted]?.() ?? Promise.resolve(null)).then(
      (language) => {
        known.set(wanted, language);
        return language;
      },
      () => {
        loading.delete(wanted);
        return null;
      },
    );
    loading.set(wanted, promise);
  }
  return promise;
}
