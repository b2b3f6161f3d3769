/**
 * Outputs as they stand in a notebook (nbformat 4) and in the document, and what a renderer may know about its surroundings.
 *
 * https://nbformat.readthedocs.io/en/latest/format_description.html#code-cell-outputs
 */

/** Files hold a text as one string or as a list of its lines. */
export type MultilineText = string | readonly string[];

/** MIME type to value: text, base64 for binary types, or JSON. */
export type MimeBundle = Readonly<Record<string, unknown>>;

export type Metadata = Readonly<Record<string, unknown>>;

/** Stands beside the text of a stream of which the document keeps only head and tail. */
export const LONG_STREAM = "application/vnd.homeport.stream+json";

/**
 * Stands in a MIME bundle for values that are too large for the document: a {@link BlobReference} or `{blobs: [...]}`, with
 * `stand_in`, the types of the bundle that are there only for programs that do not know blobs.
 */
export const BLOB = "application/vnd.homeport.blob+json";

export interface LongStream {
  lines: number;
  /** Bytes of the whole text. */
  size: number;
  /** Gives the whole text; relative to the base URL. */
  url: string;
}

export interface BlobReference {
  sha256: string;
  mime: string;
  /** Bytes. */
  size: number;
  /** Relative to the base URL. */
  url: string;
}

export interface StreamOutput {
  output_type: "stream";
  name: string;
  text: MultilineText;
  [LONG_STREAM]?: LongStream | undefined;
}

export interface DisplayOutput {
  output_type: "display_data" | "execute_result" | "update_display_data";
  data: MimeBundle;
  metadata?: Metadata | undefined;
  execution_count?: number | null | undefined;
}

export interface ErrorOutput {
  output_type: "error";
  ename: string;
  evalue: string;
  traceback: readonly string[];
}

export type Output = StreamOutput | DisplayOutput | ErrorOutput;

/** Where outputs are drawn. */
export interface OutputContext {
  /** Where the server lives, starting and ending with "/". */
  baseUrl: string;
  /** The notebook's folder as an API path: relative links and images are looked for there. */
  folder: string;
  /** A Markdown cell's attachments: file name to MIME bundle. */
  attachments?: Readonly<Record<string, MimeBundle>> | undefined;
}

/** One string, whichever way the file had it. */
export function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.join("");
  return value === undefined || value === null ? "" : JSON.stringify(value, null, 2);
}
