/** The logins and tokens of a server, as the page shows and changes them. Drawing is AccessPage's. */
import { signal } from "@preact/signals";
import { type Rest, RestError } from "../../net/rest";

/** A browser's stay. Times are ISO 8601. */
export interface Login {
  id: string;
  /** The one that asks. */
  current: boolean;
  program: string;
  address: string;
  created: string;
  last_seen: string;
  open_pages: boolean;
}

export type ScopeKind = "all" | "read" | "folder";

export interface Token {
  id: string;
  name: string;
  scope: ScopeKind;
  folder: string;
  created: string;
  expires: string | null;
  last_used: string | null;
  /** Its text: in the answer that makes it only. */
  token?: string;
}

export interface NewToken {
  name: string;
  scope: ScopeKind;
  folder: string;
  /** Seconds; null for one without an end. */
  lifetime: number | null;
}

export class AccessList {
  /** null until they are known. */
  readonly logins = signal<readonly Login[] | null>(null);
  readonly tokens = signal<readonly Token[] | null>(null);
  /** The token that was just made, with its text; shown until it is put away. */
  readonly made = signal<Token | null>(null);
  readonly trouble = signal("");
  readonly #rest: Rest;

  constructor(rest: Rest) {
    this.#rest = rest;
  }

  async refresh(): Promise<void> {
    await this.#try(async () => {
      const [logins, tokens] = await Promise.all([
        this.#rest.get<Login[]>("api/logins"),
        this.#rest.get<Token[]>("api/tokens"),
      ]);
      this.logins.value = logins;
      this.tokens.value = tokens;
    });
  }

  async endLogin(id: string): Promise<void> {
    await this.#try(() => this.#rest.send("DELETE", `api/logins/${encodeURIComponent(id)}`));
    await this.refresh();
  }

  async endOtherLogins(): Promise<void> {
    await this.#try(() => this.#rest.send("DELETE", "api/logins"));
    await this.refresh();
  }

  /** @returns whether it was made; otherwise `trouble` says why not. */
  async makeToken(wanted: NewToken): Promise<boolean> {
    const made = await this.#try(() => this.#rest.send<Token>("POST", "api/tokens", wanted));
    if (!made) return false;
    this.made.value = made;
    await this.refresh();
    return true;
  }

  async removeToken(id: string): Promise<void> {
    await this.#try(() => this.#rest.send("DELETE", `api/tokens/${encodeURIComponent(id)}`));
    if (this.made.value?.id === id) this.made.value = null;
    await this.refresh();
  }

  async #try<T>(action: () => Promise<T>): Promise<T | undefined> {
    try {
      const result = await action();
      this.trouble.value = "";
      return result;
    } catch (error) {
      if (!(error instanceof RestError)) throw error;
      this.trouble.value = error.message;
      return undefined;
    }
  }
}

/** What a token is good for, in words. */
export function scopeText(token: Pick<Token, "scope" | "folder">): string {
  if (token.scope === "read") return "Read only";
  return token.scope === "folder" ? `The files in ${token.folder}` : "Everything";
}
