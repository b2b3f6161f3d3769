/** What went wrong and what can be done about it, above the cells. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { urlOf } from "../../net/rest";
import { Banner, Button } from "../common";
import { act } from "./actions";
import type { Page } from "./page";
import type { Notice } from "./server_state";

export function Banners({ page }: { page: Page }): JSX.Element {
  const dismissed = useSignal<ReadonlySet<string>>(new Set());
  const inBanner = failedStart(page);
  const notices = page.server.notices.value.filter(
    (notice) => notice !== inBanner && !dismissed.value.has(`${notice.key} ${notice.text}`),
  );
  const { status, waiting, reason } = page.linkView.value;
  return (
    <div class="banners no-print">
      {status === "stopped" && (
        <Banner level="error" actions={<LogIn page={page} />}>
          {reason || "The server does not know this browser any more."} Log in again in another tab, then try again
          here;
          {waiting > 0 ? " your changes wait on this page." : " this page stays as it is."}
        </Banner>
      )}
      {!page.server.link.value.supervisor && (
        <Banner level="warning">
          {page.server.link.value.reason ? (
            <>
              <strong>The kernels cannot be reached; runs wait.</strong> {page.server.link.value.reason}
            </>
          ) : (
            <>
              The server has lost its supervisor, which holds the kernels, and is looking for it. Nothing has to be
              done; runs wait.
            </>
          )}
        </Banner>
      )}
      <SaveFailed page={page} />
      <DeadKernel page={page} />
      {page.readOnly && (
        <Banner>This notebook is read-only here: it can be read and run, and changes are not kept.</Banner>
      )}
      {notices.map((notice) => (
        <Banner
          key={notice.key}
          level={notice.level}
          actions={notice.action && <NoticeAction page={page} notice={notice} />}
          onDismiss={() => {
            dismissed.value = new Set([...dismissed.peek(), `${notice.key} ${notice.text}`]);
          }}
        >
          {notice.text}
        </Banner>
      ))}
    </div>
  );
}

/** What a person can do about a save that failed; the rest mends itself. */
const SAVE_TROUBLE: Record<string, { button: string; words: string }> = {
  not_found: { button: "Save it again", words: "Your work is kept by the server." },
  invalid_notebook: {
    button: "Save this notebook instead",
    words: "Your work is kept by the server; what stands in the file now would be kept beside it.",
  },
};

function SaveFailed({ page }: { page: Page }): JSX.Element | null {
  const { state, error } = page.server.save.value;
  if (state !== "failed") return null;
  const trouble = SAVE_TROUBLE[error?.code ?? ""];
  return (
    <Banner level="error" actions={<Button onClick={() => act(page, "save")}>{trouble?.button ?? "Try now"}</Button>}>
      <strong>{error?.message ?? "The file cannot be saved."}</strong>{" "}
      {trouble?.words ??
        "The old file is as it was; your work is kept by the server, which goes on trying. Nothing has to be done here."}
    </Banner>
  );
}

function LogIn({ page }: { page: Page }): JSX.Element {
  return (
    <>
      <a class="button button-plain" href={urlOf(page.config.baseUrl, "login")} target="_blank" rel="noopener">
        Log in
      </a>
      <Button variant="primary" onClick={() => page.link.retry()}>
        Try again
      </Button>
    </>
  );
}

/** What buttons are called whose notice does not say it. */
const OPERATIONS: Record<string, string> = {
  start_kernel: "Choose a kernel",
  restart: "Restart kernel",
  save: "Save now",
};

/** An action of the server: an operation to send, a page to go to, or a cell to show. */
function NoticeAction({ page, notice }: { page: Page; notice: Notice }): JSX.Element | null {
  const { label, op, href, cell, ...fields } = notice.action ?? {};
  if (href) {
    return (
      <a class="button button-plain" href={href}>
        {label ?? "Show"}
      </a>
    );
  }
  if (cell !== undefined && !op) {
    const view = page.cells.value.find(({ id }) => id === cell);
    return view ? <Button onClick={() => page.showCell(view.key)}>{label ?? "Go to the cell"}</Button> : null;
  }
  if (!op) return null;
  const run = (): void => {
    if (op === "start_kernel" && !("name" in fields)) act(page, "change-kernel");
    else void page.request(op, fields);
  };
  return <Button onClick={run}>{label ?? OPERATIONS[op] ?? "Do it"}</Button>;
}

/** The notice of a kernel that could not even be started; it stands in the banner of the dead kernel. */
function failedStart(page: Page): Notice | undefined {
  if (page.server.kernel.value?.state !== "dead") return undefined;
  return page.server.notices.value.find((notice) => notice.action?.op === "start_kernel");
}

/** The supervisor says "was stopped: …" of a kernel that it ended on purpose, and otherwise how it died. */
function howItEnded(reason: string): string {
  if (reason.startsWith("was stopped")) return `The kernel ${reason}.`;
  return reason ? `The kernel died: ${reason}.` : "The kernel died.";
}

function DeadKernel({ page }: { page: Page }): JSX.Element | null {
  const kernel = page.server.kernel.value;
  const read = useSignal("");
  const life = `${kernel?.id} ${kernel?.generation}`;
  if (kernel?.state === "dead") {
    const failed = failedStart(page);
    // A kernel that is not installed cannot be started again.
    const choices = failed?.action?.choices;
    const missing =
      Array.isArray(choices) && choices.length > 0 && !choices.some((choice) => choice?.name === kernel.name);
    const again = (): void => {
      if (failed) void page.request("start_kernel", { name: kernel.name });
      else act(page, "restart");
    };
    return (
      <Banner
        level="error"
        actions={
          <>
            {!missing && (
              <Button variant="primary" onClick={again}>
                {failed ? "Start kernel again" : "Restart kernel"}
              </Button>
            )}
            {!failed && <Button onClick={() => act(page, "restart-run-all")}>Restart and run all</Button>}
            <Button variant={missing ? "primary" : "plain"} onClick={() => act(page, "change-kernel")}>
              Choose another kernel
            </Button>
          </>
        }
      >
        {failed ? (
          <strong>{failed.text}</strong>
        ) : (
          <>
            <strong>{howItEnded(kernel.reason)}</strong> Its variables are lost; outputs are kept.
          </>
        )}
        {kernel.stderr && (
          <details class="stderr" open={failed !== undefined}>
            <summary>What it said last</summary>
            <pre>{kernel.stderr}</pre>
          </details>
        )}
      </Banner>
    );
  }
  if (kernel?.lost && read.value !== life) {
    return (
      <Banner
        level="warning"
        onDismiss={() => {
          read.value = life;
        }}
      >
        This kernel was found again after its supervisor had died: some of what it printed in between may be missing.
      </Banner>
    );
  }
  return null;
}
