/**
 * Outputs and Markdown in the page. Framework-free: give an element, get it filled.
 *
 * Import this where a notebook is drawn; the renderers for HTML, Markdown and formulas load when they are first needed.
 */
import "./outputs.css";
import type { OutputContext } from "./types";

export { OutputArea } from "./area";
export type {
  BlobReference,
  DisplayOutput,
  ErrorOutput,
  LongStream,
  MimeBundle,
  Output,
  OutputContext,
  StreamOutput,
} from "./types";
export { BLOB, LONG_STREAM } from "./types";

/**
 * Draws Markdown (with formulas, attachments, images beside the notebook) into an element, replacing what it held once the
 * new is ready. Of several calls for one element the last one wins.
 */
export async function renderMarkdown(place: HTMLElement, source: string, context: OutputContext): Promise<void> {
  const { renderMarkdown: render } = await import("./markdown");
  await render(place, source, context);
}
