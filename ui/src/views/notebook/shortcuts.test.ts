import { describe, expect, it, vi } from "vitest";

// The actions draw dialogs and toasts; the table of keys only needs their names.
vi.mock("../common", () => ({ ask: vi.fn(), confirm: vi.fn(), toast: vi.fn() }));

import { ACTIONS } from "./actions";
import { caps, type KeyPress, KeyReader, nameOf, SHORTCUTS } from "./shortcuts";

function press(key: string, extra: Partial<KeyPress> = {}): KeyPress {
  return { key, code: "", ctrlKey: false, altKey: false, shiftKey: false, metaKey: false, ...extra };
}

describe("nameOf", () => {
  it.each([
    [press("A", { shiftKey: true, code: "KeyA" }), "Shift-a"],
    [press("Enter", { shiftKey: true }), "Shift-Enter"],
    [press("_", { shiftKey: true, ctrlKey: true, code: "Minus" }), "Ctrl-Shift-Minus"],
    [press(" "), "Space"],
    [press("0"), "0"],
    [press("ф", { code: "KeyA" }), "a"],
    [press("Shift", { shiftKey: true }), null],
  ])("%o is %s", (event, name) => expect(nameOf(event)).toBe(name));
});

describe("KeyReader", () => {
  const reader = (): KeyReader => new KeyReader(SHORTCUTS, false);

  it("reads sequences within a second", () => {
    const keys = reader();
    expect(keys.read(press("d"), "command", 0)).toBe("pending");
    expect(keys.read(press("d"), "command", 900)).toBe("delete");
    expect(keys.read(press("d"), "command", 1000)).toBe("pending");
    expect(keys.read(press("d"), "command", 2500)).toBe("pending");
  });

  it("forgets a sequence when another key comes between", () => {
    const keys = reader();
    keys.read(press("d"), "command", 0);
    expect(keys.read(press("b"), "command", 10)).toBe("insert-below");
    expect(keys.read(press("d"), "command", 20)).toBe("pending");
  });

  it("leaves letters to the editor", () => {
    expect(reader().read(press("b"), "edit", 0)).toBeNull();
    expect(reader().read(press("Enter", { shiftKey: true }), "edit", 0)).toBe("run-and-advance");
    expect(reader().read(press("Escape"), "edit", 0)).toBe("leave-editor");
  });

  it("uses Cmd on a Mac", () => {
    const mac = new KeyReader(SHORTCUTS, true);
    expect(mac.read(press("s", { metaKey: true }), "edit", 0)).toBe("save");
    expect(mac.read(press("s", { ctrlKey: true }), "edit", 0)).toBeNull();
  });
});

it("no key has two meanings in one mode", () => {
  const seen = new Set<string>();
  for (const { keys, mode } of SHORTCUTS) {
    for (const key of keys) {
      for (const each of mode ? [mode] : ["command", "edit"]) {
        expect(seen).not.toContain(`${each} ${key}`);
        seen.add(`${each} ${key}`);
      }
    }
  }
});

it("every shortcut names an action with a label", () => {
  for (const { action } of SHORTCUTS) expect(ACTIONS[action].label).not.toBe("");
});

it("caps are what is printed on keys", () => {
  expect(caps("d d", false)).toEqual([["D"], ["D"]]);
  expect(caps("Mod-s", true)).toEqual([["⌘", "S"]]);
  expect(caps("Ctrl-Shift-Minus", false)).toEqual([["Ctrl", "Shift", "-"]]);
});
