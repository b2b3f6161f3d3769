/** The login page: one field for the password or a token, and where to find what goes into it. A plain form: the browser posts it, scripts or not. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { PageConfig } from "../../main/config";
import { xsrfToken } from "../../net/rest";
import { Banner, Button, Mark, ThemeMenu } from "../common";

export function LoginPage({ config }: { config: PageConfig }): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  // Browsers heed "autofocus" in the first HTML only.
  useEffect(() => field.current?.focus(), []);
  const byPassword = config.login === "password";
  const what = byPassword ? "Password or token" : "Token";
  return (
    <div class="login-page">
      <div class="login-corner">
        <ThemeMenu />
      </div>
      <main class="login-card">
        <Mark size={52} />
        <h1>Log in to Homeport</h1>
        {config.error && <Banner level="error">{config.error.message}</Banner>}
        {readableOnTheWay(location) && (
          <Banner level="warning">
            This connection is not encrypted: whoever is on the way can read what you type. An address that begins with
            https:// or an SSH tunnel is safe.
          </Banner>
        )}
        <form
          method="post"
          action={`${config.baseUrl}login`}
          onSubmit={() => {
            // A token copied from a terminal often brings spaces along, and sometimes the whole link.
            if (field.current && !byPassword) field.current.value = tokenIn(field.current.value);
          }}
        >
          <input type="hidden" name="_xsrf" value={text(config.xsrf) || xsrfToken()} />
          <input type="hidden" name="next" value={text(config.next)} />
          {/* For password managers, which keep a password under a name. */}
          <input
            class="hidden-visually"
            type="text"
            name="username"
            autocomplete="username"
            value={location.host}
            readOnly
            tabIndex={-1}
            aria-hidden="true"
          />
          <label class="field">
            <span>{what}</span>
            <input
              ref={field}
              class="input"
              name={byPassword ? "password" : "token"}
              type="password"
              autocomplete="current-password"
              required
              spellcheck={false}
            />
          </label>
          <Button variant="primary" type="submit">
            Log in
          </Button>
        </form>
        {!byPassword && (
          <details class="login-help">
            <summary>Where do I find the token?</summary>
            <p>
              The server printed a link with the token when it started. On its machine, <code>homeport list</code> shows
              it again: open that link, or copy what stands after <code>token=</code>.
            </p>
          </details>
        )}
      </main>
    </div>
  );
}

/** Whether what this page sends leaves the machine unencrypted. The address in the browser tells, whatever a proxy says of itself. */
export function readableOnTheWay({ protocol, hostname }: Pick<Location, "protocol" | "hostname">): boolean {
  return protocol === "http:" && !/^(localhost|.*\.localhost|127\.[\d.]+|\[::1\])$/.test(hostname);
}

/** The token in what was pasted: itself, or the value of `token=` in a link. */
export function tokenIn(pasted: string): string {
  const trimmed = pasted.trim();
  const link = /[?&]token=([^&#\s]+)/.exec(trimmed);
  return link?.[1] ? decodeURIComponent(link[1]) : trimmed;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
