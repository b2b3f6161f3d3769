/**
 * What the server tells a page at its birth: the JSON in `<script id="homeport-config">` of the HTML shell.
 * The shape is the seam "web/" of docs/architecture.md.
 */

export interface PageConfig {
  /** Where the server lives, starting and ending with "/". */
  baseUrl: string;
  page: "tree" | "notebook" | "access" | "login" | "error";
  /** API path of the folder or notebook: relative to the root, no leading slash. */
  path: string;
  /** Opens the first socket; later ones need a fresh ticket. */
  ticket?: string;
  version?: string;
  user?: { name: string; color?: string } | string;
  /** What the page is about (error page), or what the last attempt met (login page). */
  error?: {
    status: number;
    code: string;
    message: string;
    reason?: string | null;
    links?: readonly { url: string; text: string }[];
  };
  /** Anything a page of its own needs, as its view says. */
  [key: string]: unknown;
}

/** @throws Error when the shell carries no config: the page was not served by Homeport. */
export function readConfig(root: Document = document): PageConfig {
  const element = root.getElementById("homeport-config");
  if (!element?.textContent) throw new Error("This page has no Homeport configuration. Reload it from the server.");
  return JSON.parse(element.textContent) as PageConfig;
}
