/** The error page: what happened, to what, and what can be done. */
import type { JSX } from "preact";
import type { PageConfig } from "../../main/config";
import "./error.css";
import { parentOf } from "../../net/jupyter";
import { urlOf } from "../../net/rest";
import { Button, Icon, PageHeader } from "../common";
import { BrokenIcon, RetryIcon, WarningIcon } from "../common/icons";

/** By the stable code of an error (errors.py): a heading, and advice where the message of the server leaves room for it. */
const KINDS: Readonly<Record<string, { title: string; advice: string }>> = {
  not_found: {
    title: "Not found",
    advice: "It may have been renamed, moved or deleted. Its folder shows what is there now.",
  },
  invalid_notebook: {
    title: "This notebook cannot be opened",
    advice: "The file was not changed. You can download it and look at it in a text editor.",
  },
  locked: { title: "Open elsewhere", advice: "Use the other server, or stop it and try again." },
  too_large: { title: "Too large to open", advice: "The file was not changed. You can download it." },
  no_lab: { title: "JupyterLab comes later", advice: "Nothing is lost: what runs in kernels runs on." },
  forbidden: {
    title: "Not permitted",
    advice: "Ask whoever runs this server, or look at the permissions of the file.",
  },
  store_failed: {
    title: "The file system does not answer as it should",
    advice: "The file was not changed. Look at the disk, and try again.",
  },
};
const UNKNOWN = {
  title: "Something went wrong",
  advice: "Try again. If it happens again, the log of the server says more.",
};

export function ErrorPage({ config }: { config: PageConfig }): JSX.Element {
  const error = config.error;
  const { title, advice } = KINDS[error?.code ?? ""] ?? UNKNOWN;
  const missing = error?.code === "not_found";
  const links = error?.links ?? [];
  const folder = urlOf(config.baseUrl, "tree", parentOf(config.path));
  const ways = links.length > 0 ? links : [{ url: folder, text: "Open the folder" }];
  return (
    <div class="error-page">
      <PageHeader home={urlOf(config.baseUrl, "tree")} />
      <main class="error-main">
        <div class="error-icon">
          <Icon icon={missing ? BrokenIcon : WarningIcon} size={40} />
        </div>
        <h1>{title}</h1>
        <p class="error-message">{error?.message ?? "The server did not say what."}</p>
        {config.path && !error?.message.includes(config.path) && <p class="error-path">{config.path}</p>}
        <p class="error-advice">{advice}</p>
        <div class="error-ways">
          {ways.map(({ url, text }, index) => (
            <a key={url} class={`button ${index === 0 ? "button-primary" : "button-plain"}`} href={url}>
              {text}
            </a>
          ))}
          {!missing && (
            <Button icon={RetryIcon} onClick={() => location.reload()}>
              Try again
            </Button>
          )}
        </div>
      </main>
    </div>
  );
}
