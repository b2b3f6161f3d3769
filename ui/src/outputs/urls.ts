/** Where relative addresses in a notebook point: files beside it, other notebooks, a cell's own attachments. */
import { type MimeBundle, type OutputContext, textOf } from "./types";

/** @returns an address for a link or an image, or null when it leads out of the served folder. */
export function resolveUrl(context: OutputContext, url: string, use: "link" | "image"): string | null {
  if (url.startsWith("attachment:")) return attachmentUrl(context.attachments, url.slice("attachment:".length));
  const [, path = "", rest = ""] = /^([^?#]*)(.*)$/s.exec(url) ?? [];
  const target = joinPath(context.folder, decoded(path));
  if (target === null) return null;
  const page = use === "link" && target.endsWith(".ipynb") ? "notebooks" : "files";
  return `${context.baseUrl}${page}/${target.split("/").map(encodeURIComponent).join("/")}${rest}`;
}

/** Joins API paths; null when `..` leads above the root. */
export function joinPath(folder: string, path: string): string | null {
  const parts: string[] = folder ? folder.split("/") : [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return null;
  }
  return parts.join("/");
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** The types of attachments that are shown as images. */
const IMAGE = /^image\/(?:png|jpeg|gif|webp|bmp|avif|svg\+xml)$/;

function attachmentUrl(attachments: OutputContext["attachments"], name: string): string | null {
  const bundle: MimeBundle | undefined = attachments?.[decoded(name)] ?? attachments?.[name];
  for (const [mime, value] of Object.entries(bundle ?? {})) if (IMAGE.test(mime)) return imageUrl(mime, value);
  return null;
}

/** A data URL of an image value as notebooks hold it: base64, or text for SVG. */
export function imageUrl(mime: string, value: unknown): string {
  const text = textOf(value);
  if (mime === "image/svg+xml") return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  return `data:${mime};base64,${text.replace(/\s+/g, "")}`;
}
