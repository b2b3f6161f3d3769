/** Where things of the tree page are found: addresses of pages and files, each name encoded. */
import type { Entry } from "../../net/jupyter";
import { urlOf } from "../../net/rest";

export interface Places {
  readonly baseUrl: string;
  folder(path: string): string;
  /** Where an entry opens: a folder here, a notebook on its page, a file as the server shows it. */
  open(entry: Entry): string;
  download(entry: Entry): string;
  notebook(path: string): string;
}

export function placesOf(baseUrl: string): Places {
  return {
    baseUrl,
    folder: (path) => urlOf(baseUrl, "tree", path),
    open: (entry) => {
      if (entry.type === "directory") return urlOf(baseUrl, "tree", entry.path);
      return urlOf(baseUrl, entry.type === "notebook" ? "notebooks" : "files", entry.path);
    },
    download: (entry) => `${urlOf(baseUrl, "files", entry.path)}?download=1`,
    notebook: (path) => urlOf(baseUrl, "notebooks", path),
  };
}
