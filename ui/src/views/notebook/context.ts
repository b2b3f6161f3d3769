/** What a renderer of outputs and Markdown may know of this page. */

import type { Cell } from "../../model/cell";
import type { MimeBundle, OutputContext } from "../../outputs";
import type { Page } from "./page";

export function outputContext(page: Page, cell?: Cell): OutputContext {
  const path = page.path.peek();
  const context: OutputContext = {
    baseUrl: page.config.baseUrl,
    folder: path.slice(0, Math.max(0, path.lastIndexOf("/"))),
  };
  const attachments = cell?.attachments;
  return attachments ? { ...context, attachments: attachments as Record<string, MimeBundle> } : context;
}
