/**
 * REST calls to the server: JSON in, JSON out, one error type. What the resources are is the callers' business.
 */

/** A refused or failed request; `status` is 0 when no answer came at all. */
export class RestError extends Error {
  readonly status: number;
  readonly body: Record<string, unknown>;
  constructor(status: number, message: string, body: Record<string, unknown> = {}) {
    super(message);
    this.name = "RestError";
    this.status = status;
    this.body = body;
  }
}

/** Joins base URL (ends with "/") and a path below it whose segments are encoded one by one. */
export function urlOf(baseUrl: string, ...segments: string[]): string {
  return baseUrl + segments.flatMap((segment) => segment.split("/").filter(Boolean).map(encodeURIComponent)).join("/");
}

/** The value of the `_xsrf` cookie, which every changing request must repeat in a header. */
export function xsrfToken(cookies: string = document.cookie): string {
  const match = /(?:^|;\s*)_xsrf=([^;]*)/.exec(cookies);
  return match?.[1] ? decodeURIComponent(match[1]) : "";
}

export interface Rest {
  get<T>(path: string): Promise<T>;
  send<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T>;
}

/** @param baseUrl starts and ends with "/"; paths are below it, already encoded (see {@link urlOf}). */
export function rest(baseUrl: string): Rest {
  async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (method !== "GET") headers["X-XSRFToken"] = xsrfToken();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
    if (body !== undefined) init.body = JSON.stringify(body);
    let response: Response;
    try {
      response = await fetch(baseUrl + path, init);
    } catch {
      throw new RestError(0, "The server did not answer. Check the connection and try again.");
    }
    const text = await response.text();
    const json = parsed(text);
    if (!response.ok) {
      const fields = (json ?? {}) as Record<string, unknown>;
      const message = typeof fields.message === "string" ? fields.message : `${response.status} ${response.statusText}`;
      throw new RestError(response.status, message, fields);
    }
    return json as T;
  }
  return {
    get: (path) => request("GET", path),
    send: (method, path, body) => request(method, path, body),
  };
}

function parsed(text: string): unknown {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}
