// @vitest-environment jsdom
import { describe, expect, it, vi } from "vitest";
import type { Entry, Jupyter } from "../../net/jupyter";
import { RestError } from "../../net/rest";
import { Folder } from "./folder";

function entry(path: string): Entry {
  const name = path.split("/").at(-1) ?? path;
  return {
    name,
    path,
    type: "file",
    size: 1,
    writable: true,
    mimetype: null,
    last_modified: "2026-01-01T00:00:00Z",
    created: "",
  };
}

/** A server of which a test sets the answers. */
function server(folders: Record<string, string[]>) {
  const api = {
    listFolder: vi.fn(async (path: string) => {
      const names = folders[path];
      if (!names) throw new RestError(404, `There is no folder “${path}”.`);
      return names.map((name) => entry(path ? `${path}/${name}` : name));
    }),
    sessions: vi.fn(async () => []),
    kernels: vi.fn(async () => []),
    remove: vi.fn(async (path: string) => {
      if (path === "stuck") throw new RestError(403, "The file system does not permit this.");
      folders[""] = (folders[""] ?? []).filter((name) => name !== path);
    }),
  };
  return { api, folder: new Folder(api as unknown as Jupyter) };
}

const names = (folder: Folder) => folder.shown.value.map(({ name }) => name);

describe("Folder", () => {
  it("shows a folder once its entries are here", async () => {
    const { folder } = server({ "": ["b", "a"], sub: ["c"] });
    expect(await folder.open("")).toBe(true);
    expect(names(folder)).toEqual(["a", "b"]);
    const opening = folder.open("sub");
    expect([folder.path.value, folder.opening.value]).toEqual(["", "sub"]);
    await opening;
    expect([folder.path.value, folder.opening.value, names(folder)]).toEqual(["sub", null, ["c"]]);
  });

  it("stays where it is when a folder cannot be opened, and says why", async () => {
    const { folder } = server({ "": ["a"] });
    await folder.open("");
    expect(await folder.open("gone")).toBe(false);
    expect([folder.path.value, names(folder), folder.trouble.value?.status]).toEqual(["", ["a"], 404]);
  });

  it("lets the last of two openings win, whichever answers first", async () => {
    const { folder, api } = server({ slow: ["s"], fast: ["f"] });
    let release = () => {};
    api.listFolder.mockImplementationOnce(async () => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return [entry("slow/s")];
    });
    const slow = folder.open("slow");
    await folder.open("fast");
    release();
    expect(await slow).toBe(false);
    expect(names(folder)).toEqual(["f"]);
  });

  it("forgets the selection of what is gone, and keeps the rest", async () => {
    const folders = { "": ["a", "b", "c"] };
    const { folder } = server(folders);
    await folder.open("");
    folder.selectAll(true);
    folders[""] = ["a", "c"];
    await folder.refresh();
    expect([...folder.selected.value]).toEqual(["a", "c"]);
  });

  it("keeps the entries as they are when a look finds nothing new", async () => {
    const { folder } = server({ "": ["a", "b"] });
    await folder.open("");
    const before = folder.entries.value;
    await folder.refresh();
    expect(folder.entries.value).toBe(before);
  });

  it("says that the server does not answer, and shows what it knows", async () => {
    const { folder, api } = server({ "": ["a"] });
    await folder.open("");
    api.kernels.mockRejectedValueOnce(new RestError(0, "no answer"));
    await folder.refresh();
    expect([folder.trouble.value?.status, names(folder)]).toEqual([0, ["a"]]);
    await folder.refresh();
    expect(folder.trouble.value).toBeNull();
  });

  it("goes on after one of several cannot be deleted", async () => {
    const { folder } = server({ "": ["a", "stuck", "z"] });
    await folder.open("");
    await folder.remove(folder.shown.value);
    expect(names(folder)).toEqual(["stuck"]);
  });
});
