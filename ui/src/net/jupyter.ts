/**
 * The resources of Jupyter's REST API that our pages use: contents, sessions, kernels, kernelspecs.
 *
 * Paths are API paths: relative to the root, "/" between names, no leading slash. Every call throws RestError.
 * https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html
 */
import { type Rest, urlOf } from "./rest";

/** A file, folder or notebook without its content. */
export interface Entry {
  name: string;
  path: string;
  /** "broken": it cannot be opened. */
  type: "directory" | "file" | "notebook" | "broken";
  /** What a broken one is: "Broken link", "Named pipe". */
  why?: string;
  /** ISO 8601. */
  last_modified: string;
  created: string;
  /** Bytes; null for folders. */
  size: number | null;
  writable: boolean;
  mimetype: string | null;
}

export interface Kernel {
  id: string;
  name: string;
  /** ISO 8601. */
  last_activity: string;
  /** starting, idle, busy, restarting, dead */
  execution_state: string;
  connections: number;
  /** Bytes of memory, when the server knows. */
  memory?: number | null;
}

export interface Session {
  id: string;
  path: string;
  name: string;
  type: string;
  kernel: Kernel | null;
}

export interface Kernelspec {
  name: string;
  spec: { display_name: string; language: string };
  /** File name to URL. */
  resources: Readonly<Record<string, string>>;
}

export interface Kernelspecs {
  default: string;
  kernelspecs: Readonly<Record<string, Kernelspec>>;
}

/** Bytes of one piece of an upload: the first one, and the most that it grows to when the link is fast. */
const FIRST_PIECE = 256 * 1024;
const LARGEST_PIECE = 8 * 1024 * 1024;
/** A piece should take about this long, in ms: progress is seen to move, and a cut costs little. */
const PIECE_TIME = 1_000;

/** Calls for one server. */
export function jupyter(rest: Rest) {
  const contents = (path: string) => urlOf("", "api/contents", path);
  return {
    async listFolder(path: string): Promise<Entry[]> {
      const model = await rest.get<{ content: (Entry & { broken?: string })[] | null }>(
        `${contents(path)}?type=directory&content=1`,
      );
      // Jupyter's types know nothing that cannot be opened: the server calls it a file, and says so beside.
      return (model.content ?? []).map((entry) =>
        entry.broken ? { ...entry, type: "broken", why: entry.broken } : entry,
      );
    },

    createFolder: (folder: string) => rest.send<Entry>("POST", contents(folder), { type: "directory" }),

    /** An empty notebook with one code cell, for a kernel. The server finds it a free name. */
    async createNotebook(folder: string, kernelspec: Kernelspec | null): Promise<Entry> {
      const entry = await rest.send<Entry>("POST", contents(folder), { type: "notebook" });
      if (!kernelspec) return entry;
      return rest.send<Entry>("PUT", contents(entry.path), {
        type: "notebook",
        format: "json",
        content: emptyNotebook(kernelspec),
      });
    },

    /** The notebook that shows what Homeport does. */
    createWelcome: (folder: string) => rest.send<Entry>("POST", contents(folder), { type: "notebook", welcome: true }),

    duplicate: (entry: Entry) => rest.send<Entry>("POST", contents(parentOf(entry.path)), { copy_from: entry.path }),
    rename: (path: string, to: string) => rest.send<Entry>("PATCH", contents(path), { path: to }),
    /** Moves to the trash. */
    remove: (path: string) => rest.send<void>("DELETE", contents(path)),

    /**
     * Uploads a file in pieces.
     *
     * @param onProgress told how many bytes the server has.
     * @throws DOMException "AbortError" when the signal says so; pieces sent until then are the server's to clear away.
     */
    async upload(path: string, file: Blob, signal: AbortSignal, onProgress: (bytes: number) => void): Promise<void> {
      let size = FIRST_PIECE;
      let sent = 0;
      for (let piece = 1; ; piece += 1) {
        signal.throwIfAborted();
        const end = Math.min(file.size, sent + size);
        const content = await base64(file.slice(sent, end));
        const last = end === file.size;
        const body = {
          type: "file",
          format: "base64",
          content,
          ...(last && piece === 1 ? {} : { chunk: last ? -1 : piece }),
        };
        const started = performance.now();
        await rest.send("PUT", contents(path), body);
        sent = end;
        onProgress(sent);
        if (last) return;
        const ratio = PIECE_TIME / Math.max(1, performance.now() - started);
        size = Math.round(Math.min(LARGEST_PIECE, Math.max(FIRST_PIECE, size * Math.min(2, ratio))));
      }
    },

    sessions: () => rest.get<Session[]>("api/sessions"),
    kernels: () => rest.get<Kernel[]>("api/kernels"),
    kernelspecs: () => rest.get<Kernelspecs>("api/kernelspecs"),
    shutdownKernel: (id: string) => rest.send<void>("DELETE", urlOf("", "api/kernels", id)),
  };
}

export type Jupyter = ReturnType<typeof jupyter>;

/** The folder that a path lies in; "" for the root. */
export function parentOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

function emptyNotebook(kernelspec: Kernelspec): object {
  const { name, spec } = kernelspec;
  const cell = {
    cell_type: "code",
    id: crypto.randomUUID?.().slice(0, 8) ?? "first",
    metadata: {},
    source: "",
    execution_count: null,
    outputs: [],
  };
  return {
    cells: [cell],
    metadata: { kernelspec: { name, display_name: spec.display_name, language: spec.language } },
    nbformat: 4,
    nbformat_minor: 5,
  };
}

/** The browser's own encoder; it does not hold up the page. */
function base64(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => {
      const url = String(reader.result);
      resolve(url.slice(url.indexOf(",") + 1));
    };
    reader.onerror = () =>
      reject(new Error("The browser cannot read this file. If it is a folder, upload the files in it."));
    reader.readAsDataURL(blob);
  });
}
