/** Files on their way to the server: one after the other, each with its progress, each to be cancelled. */
import { signal } from "@preact/signals";
import { ask, toast } from "../common";
import type { Folder } from "./folder";
import { freeName } from "./listing";

export interface Upload {
  readonly key: number;
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly sent: number;
  readonly state: "waiting" | "sending" | "failed";
  readonly error?: string;
  readonly cancel: () => void;
}

interface Job {
  readonly key: number;
  readonly file: File;
  /** Where it goes; a person may look at another folder meanwhile. */
  readonly path: string;
  readonly abort: AbortController;
}

export class Uploads {
  readonly list = signal<readonly Upload[]>([]);
  readonly #folder: Folder;
  #queue: Job[] = [];
  #running = false;
  #lastKey = 0;

  constructor(folder: Folder) {
    this.#folder = folder;
  }

  /** Asks about names that exist, and uploads. */
  async add(files: readonly File[]): Promise<void> {
    for (const file of files) {
      const name = await this.#settleName(file.name);
      if (name === null) continue;
      this.#lastKey += 1;
      const job: Job = { key: this.#lastKey, file, path: this.#folder.pathOf(name), abort: new AbortController() };
      this.#queue.push(job);
      const entry: Upload = {
        key: job.key,
        name,
        size: file.size,
        sent: 0,
        state: "waiting",
        cancel: () => this.#cancel(job),
      };
      this.list.value = [...this.list.value, entry];
    }
    if (!this.#running) await this.#run();
  }

  /** @returns the name to write to, or null to leave this file out. */
  async #settleName(name: string): Promise<string | null> {
    const taken = (candidate: string) =>
      this.#folder.taken(candidate) || this.#queue.some((job) => job.path === this.#folder.pathOf(candidate));
    if (!taken(name)) return name;
    const answer = await ask({
      title: `“${name}” exists already`,
      text: "Replace it with the file you are uploading, or keep both?",
      choices: [
        { value: "skip", label: "Skip" },
        { value: "replace", label: "Replace", danger: true },
        { value: "both", label: "Keep both" },
      ],
    });
    if (answer === "replace") return name;
    return answer === "both" ? freeName(name, taken) : null;
  }

  async #run(): Promise<void> {
    this.#running = true;
    let done = 0;
    for (let job = this.#queue.shift(); job; job = this.#queue.shift()) if (await this.#send(job)) done += 1;
    this.#running = false;
    await this.#folder.refresh();
    if (done > 0) toast(done === 1 ? "Uploaded 1 file." : `Uploaded ${done} files.`, { level: "success" });
  }

  async #send(job: Job): Promise<boolean> {
    this.#change(job.key, { state: "sending" });
    try {
      await this.#folder.upload(job.path, job.file, job.abort.signal, (sent) => this.#change(job.key, { sent }));
      this.#drop(job.key);
      return true;
    } catch (error) {
      if (job.abort.signal.aborted) this.#drop(job.key);
      else this.#change(job.key, { state: "failed", error: error instanceof Error ? error.message : String(error) });
      return false;
    }
  }

  #cancel(job: Job): void {
    job.abort.abort();
    this.#queue = this.#queue.filter((other) => other !== job);
    this.#drop(job.key);
  }

  #change(key: number, change: Partial<Upload>): void {
    this.list.value = this.list.value.map((upload) => (upload.key === key ? { ...upload, ...change } : upload));
  }

  #drop(key: number): void {
    this.list.value = this.list.value.filter((upload) => upload.key !== key);
  }
}
