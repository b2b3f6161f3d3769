/**
 * One cell of the shared document, read with the names of nbformat. Changing several cells, and anything that adds, removes
 * or orders them, is the notebook's business.
 */
import * as Y from "yjs";
import { type CellJson, type CellType, isObject, type Json, type JsonObject, type Output, plain } from "./schema";

/** What of a cell may change by itself. */
export type Aspect = "type" | "source" | "outputs" | "metadata" | "execution";

const KNOWN = new Set(["outputs", "execution_count", "execution_state"]);

export class Cell {
  /** Outputs already turned into JSON; dropped when the shared output changes. */
  private readonly converted = new WeakMap<object, Output>();
  private undo: Y.UndoManager | null = null;
  readonly shared: Y.Map<unknown>;

  constructor(shared: Y.Map<unknown>) {
    this.shared = shared;
  }

  get id(): string {
    return String(this.shared.get("id") ?? "");
  }

  get type(): CellType {
    const type = this.shared.get("cell_type");
    return type === "markdown" || type === "raw" ? type : "code";
  }

  /** The shared text; null in a broken cell without one. */
  get text(): Y.Text | null {
    const text = this.shared.get("source");
    return text instanceof Y.Text ? text : null;
  }

  get source(): string {
    return this.text?.toString() ?? "";
  }

  get executionCount(): number | null {
    const count = plain(this.shared.get("execution_count"));
    return typeof count === "number" ? count : null;
  }

  get metadata(): JsonObject {
    const metadata = plain(this.shared.get("metadata"));
    return isObject(metadata) ? metadata : {};
  }

  /** The same object for an output that did not change: renderers may compare by identity. */
  get outputs(): Output[] {
    const outputs = this.shared.get("outputs");
    if (!(outputs instanceof Y.Array)) return [];
    return outputs.toArray().map((output) => this.convert(output));
  }

  get outputCount(): number {
    const outputs = this.shared.get("outputs");
    return outputs instanceof Y.Array ? outputs.length : 0;
  }

  get attachments(): JsonObject | undefined {
    const attachments = plain(this.shared.get("attachments"));
    return isObject(attachments) ? attachments : undefined;
  }

  /** Whether outputs or source are folded away, as JupyterLab stores it (`jupyter`), and classic Notebook (`collapsed`). */
  hidden(part: "outputs" | "source"): boolean {
    const metadata = this.metadata;
    const jupyter = metadata.jupyter;
    if (isObject(jupyter) && jupyter[`${part}_hidden`] === true) return true;
    return part === "outputs" && metadata.collapsed === true;
  }

  /** Undo of what was typed into this cell on this page; lives as long as the cell, whether an editor is there or not. */
  get undoManager(): Y.UndoManager | null {
    const text = this.text;
    if (!text) return null;
    this.undo ??= new Y.UndoManager(text, { trackedOrigins: new Set(), captureTimeout: 600 });
    return this.undo;
  }

  toJson(): CellJson {
    const json: CellJson = { id: this.id, cell_type: this.type, source: this.source, metadata: this.metadata };
    if (json.cell_type === "code") {
      json.outputs = this.outputs;
      json.execution_count = this.executionCount;
    }
    const attachments = this.attachments;
    if (attachments && json.cell_type !== "code") json.attachments = attachments;
    const others = [...this.shared.keys()].filter((key) => !KNOWN.has(key) && !(key in json));
    if (others.length > 0) json.unknown = Object.fromEntries(others.map((key) => [key, plain(this.shared.get(key))]));
    return json;
  }

  /** An output's shared object changed: convert it again when it is next asked for. */
  outputChanged(output: object): void {
    this.converted.delete(output);
  }

  private convert(output: unknown): Output {
    if (typeof output !== "object" || output === null) return { output_type: "unknown" };
    const known = this.converted.get(output);
    if (known) return known;
    const json = plain(output) as Output;
    this.converted.set(output, json);
    return json;
  }
}

/** Builds the shared form of a cell, as `YNotebook.create_ycell` of jupyter_ydoc does. */
export function sharedCell(json: CellJson & { id: string }): Y.Map<unknown> {
  const shared = new Y.Map<unknown>();
  shared.set("id", json.id);
  shared.set("cell_type", json.cell_type);
  shared.set("source", new Y.Text(json.source));
  shared.set("metadata", sharedMap(json.metadata));
  if (json.cell_type === "code") {
    const outputs = new Y.Array<unknown>();
    outputs.push((json.outputs ?? []).map(sharedOutput));
    shared.set("outputs", outputs);
    shared.set("execution_count", json.execution_count ?? null);
    shared.set("execution_state", "idle");
  } else if (json.attachments) shared.set("attachments", json.attachments);
  for (const [key, value] of Object.entries(json.unknown ?? {})) shared.set(key, value);
  return shared;
}

function sharedOutput(output: Output): Y.Map<unknown> {
  const shared = sharedMap(output);
  const text = output.text;
  if (output.output_type === "stream")
    shared.set("text", new Y.Text(Array.isArray(text) ? text.join("") : String(text ?? "")));
  return shared;
}

function sharedMap(object: JsonObject): Y.Map<unknown> {
  return new Y.Map<unknown>(Object.entries(object) as [string, Json][]);
}
