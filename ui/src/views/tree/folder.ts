/**
 * The folder that is shown, as signals: its entries, what is selected, which kernels run, and the things a person does to them.
 *
 * This is the only owner of that state; views read signals and call methods. What goes wrong becomes a message, not an exception.
 */
import { batch, computed, signal } from "@preact/signals";
import {
  type Entry,
  type Jupyter,
  type Kernel,
  type Kernelspec,
  type Kernelspecs,
  parentOf,
  type Session,
} from "../../net/jupyter";
import { RestError } from "../../net/rest";
import { toast } from "../common";
import { arrange, type Order, reuse } from "./listing";

/** Milliseconds between looks at the folder while the page is seen; rarer for big folders. */
const REFRESH = 10_000;
const REFRESH_BIG = 30_000;
const BIG = 1_500;
const ORDER_KEY = "homeport.tree.order";

export class Folder {
  readonly path = signal("");
  readonly entries = signal<readonly Entry[]>([]);
  /** A folder that is being opened: its path, until its entries are here. */
  readonly opening = signal<string | null>(null);
  /** What the last look at the folder or at the kernels met; null when all is well. */
  readonly trouble = signal<RestError | null>(null);
  readonly sessions = signal<readonly Session[]>([]);
  readonly kernels = signal<readonly Kernel[]>([]);
  readonly kernelspecs = signal<Kernelspecs | null>(null);
  readonly filter = signal("");
  readonly order = signal<Order>(keptOrder());
  readonly selected = signal<ReadonlySet<string>>(new Set());
  /** Milliseconds; moves on with every look, so that "2 minutes ago" does. */
  readonly now = signal(Date.now());

  readonly shown = computed(() => arrange(this.entries.value, this.order.value, this.filter.value));
  readonly chosen = computed(() => this.shown.value.filter((entry) => this.selected.value.has(entry.path)));
  readonly sessionByPath = computed(() => new Map(this.sessions.value.map((session) => [session.path, session])));

  readonly #jupyter: Jupyter;
  #looking: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Jupyter) {
    this.#jupyter = api;
  }

  /** Shows another folder, once its entries are here. False when it cannot be opened; then `trouble` says why. */
  async open(path: string): Promise<boolean> {
    this.opening.value = path;
    try {
      const entries = await this.#jupyter.listFolder(path);
      if (this.opening.value !== path) return false;
      batch(() => {
        if (path !== this.path.value) {
          this.filter.value = "";
          this.selected.value = new Set();
        }
        this.path.value = path;
        this.#take(entries);
        this.opening.value = null;
        this.trouble.value = null;
      });
      return true;
    } catch (error) {
      if (this.opening.value === path) {
        this.opening.value = null;
        this.trouble.value = asTrouble(error);
      }
      return false;
    }
  }

  /** Looks again every few seconds while the page is seen, and at once when it is seen again. Returns "stop". */
  watch(): () => void {
    const look = () => {
      if (document.visibilityState === "visible") void this.refresh();
    };
    document.addEventListener("visibilitychange", look);
    addEventListener("focus", look);
    addEventListener("online", look);
    void this.#loadKernelspecs();
    this.#schedule();
    return () => {
      document.removeEventListener("visibilitychange", look);
      removeEventListener("focus", look);
      removeEventListener("online", look);
      clearTimeout(this.#timer);
    };
  }

  /** Looks at the folder and the kernels now; calls that come while one is under way share it. */
  refresh(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
      this.#schedule();
    });
    return this.#looking;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const pause = this.entries.value.length > BIG ? REFRESH_BIG : REFRESH;
    this.#timer = setTimeout(() => {
      if (document.visibilityState === "visible") void this.refresh();
    }, pause);
  }

  async #look(): Promise<void> {
    const path = this.path.value;
    const [entries, sessions, kernels] = await Promise.allSettled([
      this.#jupyter.listFolder(path),
      this.#jupyter.sessions(),
      this.#jupyter.kernels(),
    ]);
    batch(() => {
      this.now.value = Date.now();
      if (entries.status === "fulfilled" && path === this.path.value) this.#take(entries.value);
      if (sessions.status === "fulfilled") this.sessions.value = sessions.value;
      if (kernels.status === "fulfilled") this.kernels.value = kernels.value;
      const failed = [entries, sessions, kernels].find((result) => result.status === "rejected");
      this.trouble.value = failed ? asTrouble(failed.reason) : null;
    });
  }

  #take(entries: readonly Entry[]): void {
    const next = reuse(this.entries.value, entries);
    const same =
      next.length === this.entries.value.length && next.every((entry, index) => entry === this.entries.value[index]);
    if (!same) this.entries.value = next;
    const paths = new Set(next.map((entry) => entry.path));
    const selected = [...this.selected.value].filter((path) => paths.has(path));
    if (selected.length !== this.selected.value.size) this.selected.value = new Set(selected);
  }

  async #loadKernelspecs(): Promise<void> {
    try {
      this.kernelspecs.value = await this.#jupyter.kernelspecs();
    } catch (error) {
      this.trouble.value = asTrouble(error);
    }
  }

  taken = (name: string): boolean => this.entries.value.some((entry) => entry.name === name);

  sortBy(key: Order["key"]): void {
    const before = this.order.value;
    this.order.value = { key, descending: before.key === key ? !before.descending : key !== "name" };
    try {
      localStorage.setItem(ORDER_KEY, JSON.stringify(this.order.value));
    } catch {
      // The order then holds for this page only.
    }
  }

  toggle(path: string, on = !this.selected.value.has(path)): void {
    const next = new Set(this.selected.value);
    if (on) next.add(path);
    else next.delete(path);
    this.selected.value = next;
  }

  selectAll(on: boolean): void {
    this.selected.value = new Set(on ? this.shown.value.map((entry) => entry.path) : []);
  }

  /** Makes a notebook. @returns its path, or null when that failed. */
  async createNotebook(kernelspec: Kernelspec | null): Promise<string | null> {
    const entry = await this.#try("The notebook could not be made", () =>
      this.#jupyter.createNotebook(this.path.value, kernelspec),
    );
    return entry?.path ?? null;
  }

  /** Puts the notebook here that shows what Homeport does. @returns its path, or null when that failed. */
  async createWelcome(): Promise<string | null> {
    const entry = await this.#try("The notebook could not be made", () => this.#jupyter.createWelcome(this.path.value));
    return entry?.path ?? null;
  }

  /** Makes a folder of this name. */
  async createFolder(name: string): Promise<void> {
    await this.#try("The folder could not be made", async () => {
      const made = await this.#jupyter.createFolder(this.path.value);
      const wanted = joined(this.path.value, name);
      if (made.path !== wanted) await this.#jupyter.rename(made.path, wanted);
    });
    await this.refresh();
  }

  async rename(entry: Entry, name: string): Promise<void> {
    if (name === entry.name) return;
    await this.#try(`“${entry.name}” could not be renamed`, () =>
      this.#jupyter.rename(entry.path, joined(parentOf(entry.path), name)),
    );
    await this.refresh();
  }

  /** The folders in a folder, by name. Throws RestError. */
  async foldersIn(path: string): Promise<Entry[]> {
    const folders = (await this.#jupyter.listFolder(path)).filter((entry) => entry.type === "directory");
    return arrange(folders, { key: "name", descending: false }, "");
  }

  /** Moves to another folder, under the same names; nothing there is replaced. */
  async move(entries: readonly Entry[], to: string): Promise<void> {
    let moved = 0;
    for (const entry of entries) {
      const done = await this.#try(`“${entry.name}” could not be moved`, () =>
        this.#jupyter.rename(entry.path, joined(to, entry.name)),
      );
      if (done) moved += 1;
    }
    await this.refresh();
    if (moved > 0)
      toast(
        `Moved ${moved === 1 ? `“${entries[0]?.name}”` : `${moved} items`} to “${to.split("/").at(-1) || "Files"}”.`,
      );
  }

  async duplicate(entries: readonly Entry[]): Promise<void> {
    for (const entry of entries)
      await this.#try(`“${entry.name}” could not be duplicated`, () => this.#jupyter.duplicate(entry));
    await this.refresh();
  }

  /** Moves to the trash. */
  async remove(entries: readonly Entry[]): Promise<void> {
    let removed = 0;
    for (const entry of entries) {
      const done = await this.#try(`“${entry.name}” could not be deleted`, async () => {
        await this.#jupyter.remove(entry.path);
        return true;
      });
      if (done) removed += 1;
    }
    await this.refresh();
    if (removed > 0)
      toast(removed === 1 ? `Moved “${entries[0]?.name}” to the trash.` : `Moved ${removed} items to the trash.`);
  }

  async shutdownKernels(ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.#try("The kernel could not be shut down", () => this.#jupyter.shutdownKernel(id));
    await this.refresh();
  }

  /** The API path of a name in the folder that is shown. */
  pathOf(name: string): string {
    return joined(this.path.value, name);
  }

  /** @param path of a file that is free, or to be replaced. */
  upload(path: string, file: Blob, signal: AbortSignal, onProgress: (bytes: number) => void): Promise<void> {
    return this.#jupyter.upload(path, file, signal, onProgress);
  }

  async #try<T>(what: string, action: () => Promise<T>): Promise<T | null> {
    try {
      return await action();
    } catch (error) {
      toast(`${what}: ${error instanceof Error ? error.message : String(error)}`, { level: "error" });
      return null;
    }
  }
}

function joined(folder: string, name: string): string {
  return folder ? `${folder}/${name}` : name;
}

function asTrouble(error: unknown): RestError {
  return error instanceof RestError ? error : new RestError(0, error instanceof Error ? error.message : String(error));
}

function keptOrder(): Order {
  try {
    const kept = JSON.parse(localStorage.getItem(ORDER_KEY) ?? "") as Partial<Order>;
    if (["name", "modified", "size"].includes(kept.key ?? ""))
      return { key: kept.key ?? "name", descending: kept.descending === true };
  } catch {
    // Nothing kept, or nothing that we wrote.
  }
  return { key: "name", descending: false };
}
