/**
 * The shapes of a notebook in nbformat 4 and in the `jupyter_ydoc` document, as far as the page touches them.
 * Unknown keys are carried along everywhere.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export type CellType = "code" | "markdown" | "raw";

/** One output of a code cell as nbformat has it; `text` and MIME values may be strings or lists of lines. */
export type Output = JsonObject & { output_type: string };

/** A cell as it travels by copy and paste: nbformat, with its source as one string. */
export interface CellJson {
  id?: string;
  cell_type: CellType;
  source: string;
  metadata: JsonObject;
  outputs?: Output[];
  execution_count?: number | null;
  attachments?: JsonObject;
  /** Members that nbformat does not know. */
  unknown?: JsonObject;
}

/** nbformat allows letters, digits, "-" and "_", at most 64. */
export const CELL_ID = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * A value out of the shared document as plain JSON. pycrdt writes Python ints as 64-bit integers, which arrive here as
 * BigInt and would break `JSON.stringify` and arithmetic.
 */
export function plain(value: unknown): Json {
  if (typeof value === "bigint") return Number(value);
  if (value === null || value === undefined) return null;
  if (typeof value !== "object") return value as Json;
  if ("toJSON" in value && typeof value.toJSON === "function") return plain(value.toJSON());
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plain(entry)]));
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
