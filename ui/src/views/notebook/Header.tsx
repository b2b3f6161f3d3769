/** The head of the page: where we are, what is saved, whether the link and the kernel are there. */
import type { JSX } from "preact";
import { urlOf } from "../../net/rest";
import { askText, Icon, Mark, MenuButton, type MenuItem, ThemeMenu } from "../common";
import { act } from "./actions";
import { BackIcon, CloseIcon, OfflineIcon, QueueIcon, RestartIcon, ShutDownIcon, StopIcon, SwitchIcon } from "./icons";
import type { Page } from "./page";
import { type Kernel, saveWords } from "./server_state";
import { hint, IS_MAC } from "./shortcuts";
import { Toolbar } from "./Toolbar";

export function Header({ page }: { page: Page }): JSX.Element {
  const path = page.path.value;
  const folder = path.slice(0, Math.max(0, path.lastIndexOf("/")));
  return (
    <header class="notebook-head no-print">
      <div class="head-row">
        <a
          class="back"
          href={urlOf(page.config.baseUrl, "tree", folder)}
          aria-label={`Back to folder ${folder || "home"}`}
          title={`Back to ${folder || "the home folder"}`}
        >
          <Icon icon={BackIcon} size={16} />
          <Mark size={26} />
        </a>
        <div class="title">
          <Name page={page} />
          <SaveStatus page={page} />
        </div>
        <span class="head-space" />
        <LinkStatusChip page={page} />
        <Question page={page} />
        <Queue page={page} />
        <KernelChip page={page} />
        <span class="wide-only">
          <ThemeMenu />
        </span>
      </div>
      <Toolbar page={page} />
    </header>
  );
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function Name({ page }: { page: Page }): JSX.Element {
  const name = nameOf(page.path.value);
  const shown = name.replace(/\.ipynb$/i, "");
  return (
    <h1 class="notebook-name">
      <button
        type="button"
        aria-label={`Rename notebook ${shown}`}
        title={`${page.path.value} (click to rename)`}
        onClick={() => void rename(page)}
      >
        {shown}
      </button>
    </h1>
  );
}

async function rename(page: Page): Promise<void> {
  const path = page.path.peek();
  const name = nameOf(path);
  await askText({
    title: "Rename notebook",
    label: "New name",
    value: name,
    action: "Rename",
    select: name.replace(/\.ipynb$/i, "").length,
    check: (value) => (value.includes("/") ? "A name has no slash." : value === "" ? "A name is needed." : ""),
    carryOut: async (wanted) => {
      if (wanted === name) return "";
      const file = /\.ipynb$/i.test(wanted) ? wanted : `${wanted}.ipynb`;
      const target = path.slice(0, path.lastIndexOf("/") + 1) + file;
      try {
        const { path: now } = await page.rest.send<{ path: string }>("PATCH", urlOf("", "api/contents", path), {
          path: target,
        });
        page.renamed(now);
        page.announce(`Renamed to ${file}`);
        return "";
      } catch (error) {
        return (error as Error).message;
      }
    },
  });
}

function SaveStatus({ page }: { page: Page }): JSX.Element {
  const { state, error } = page.server.save.value;
  const { waiting, status } = page.linkView.value;
  const words = saveWords(state, { waiting, online: status === "online", running: page.server.queue.value.length > 0 });
  if (!page.loaded.value) return <span class="save-status">Opening…</span>;
  if (page.readOnly) return <span class="save-status">Read-only</span>;
  if (state === "failed") {
    // Why, and what helps, stands above the cells: out of sight of whoever works further down.
    return (
      <span class="save-status save-failed" role="alert">
        <button type="button" title={error?.message ?? words} onClick={() => scrollTo({ top: 0 })}>
          {words}
        </button>
      </span>
    );
  }
  return (
    <span class={`save-status save-${state}`} title={words}>
      {words}
    </span>
  );
}

/** The words for the state of the link, as people read them. */
export function linkWords(status: string, waiting: number, transport = ""): string {
  const changes = waiting === 0 ? "" : waiting === 1 ? ", 1 change waiting" : `, ${waiting} changes waiting`;
  switch (status) {
    case "online":
      return transport === "HTTP" ? "Online over HTTP" : "Online";
    case "connecting":
      return "Connecting…";
    case "reconnecting":
      return `Reconnecting…${changes ? changes.slice(1) : ""}`;
    case "stopped":
      return `Logged out${changes}`;
    default:
      return `Offline${changes}`;
  }
}

function LinkStatusChip({ page }: { page: Page }): JSX.Element {
  const { status, waiting, reason, transport } = page.linkView.value;
  const words = linkWords(status, waiting, transport);
  const up =
    transport === "HTTP"
      ? "The link to the server is up, over plain HTTP: something in between blocks WebSockets"
      : "The link to the server is up";
  return (
    <button
      type="button"
      class={`chip link-chip link-${status}`}
      aria-label={`Link to the server: ${words}`}
      title={status === "online" ? up : reason || "Click to try again now"}
      onClick={() => page.link.retry()}
    >
      {status === "online" ? <span class="dot" /> : <Icon icon={OfflineIcon} size={14} />}
      <span class="chip-text">
        {words.split("changes ")[0]}
        {words.includes("changes ") && (
          <>
            <span class="wide-only">changes </span>
            {words.split("changes ")[1]}
          </>
        )}
      </span>
    </button>
  );
}

/** A kernel that asks waits for somebody, wherever on the page they are: this leads to the question. */
function Question({ page }: { page: Page }): JSX.Element | null {
  const [question] = page.server.inputs.value;
  if (!question) return null;
  return (
    <button
      type="button"
      class="chip question-chip"
      title={`The kernel asks: ${question.prompt || "for input"}`}
      onClick={() => page.showQuestion(question.cell)}
    >
      Answer
    </button>
  );
}

function Queue({ page }: { page: Page }): JSX.Element | null {
  const queue = page.server.queue.value;
  if (queue.length === 0) return null;
  const items = (): MenuItem[] => [
    { label: "Cancel all waiting cells", icon: CloseIcon, onSelect: () => void page.request("cancel", { all: true }) },
    "separator",
    ...page.server.queue.peek().map((entry): MenuItem => {
      const index = page.cells.peek().findIndex((view) => view.id === entry.cell);
      const source = page.notebook.find(entry.cell)?.source.trim().split("\n")[0]?.slice(0, 40) ?? "";
      const place = `${index < 0 ? "deleted cell" : `cell ${index + 1}`}${source ? `: ${source}` : ""}`;
      return entry.state === "running"
        ? { label: `Interrupt ${place}`, icon: StopIcon, onSelect: () => void page.request("interrupt") }
        : {
            label: `Cancel ${place}`,
            icon: CloseIcon,
            onSelect: () => void page.request("cancel", { run: entry.run }),
          };
    }),
  ];
  return (
    <MenuButton
      label={`Queue: ${queue.length === 1 ? "1 cell" : `${queue.length} cells`}`}
      icon={QueueIcon}
      items={items}
      class="chip queue-chip"
    >
      {queue.length}
    </MenuButton>
  );
}

const KERNEL_WORDS: Record<Kernel["state"], string> = {
  starting: "starting",
  idle: "idle",
  busy: "busy",
  restarting: "restarting",
  dead: "dead",
};

function KernelChip({ page }: { page: Page }): JSX.Element {
  const kernel = page.server.kernel.value;
  const name = kernel?.display_name || kernel?.name || page.kernelName.value || "No kernel";
  // One that could not be started was never alive, and cannot be started again by a restart.
  const unborn = kernel?.state === "dead" && kernel.id === null;
  const state = kernel && !unborn ? KERNEL_WORDS[kernel.state] : "not started";
  const items = (): MenuItem[] => [
    {
      label: "Interrupt kernel",
      icon: StopIcon,
      disabled: !kernel || unborn,
      hint: hint("interrupt", IS_MAC),
      onSelect: () => act(page, "interrupt"),
    },
    {
      label: "Restart kernel…",
      icon: RestartIcon,
      disabled: !kernel || unborn,
      hint: hint("restart", IS_MAC),
      onSelect: () => act(page, "restart"),
    },
    { label: "Restart and run all…", disabled: !kernel || unborn, onSelect: () => act(page, "restart-run-all") },
    "separator",
    { label: "Change kernel…", icon: SwitchIcon, onSelect: () => act(page, "change-kernel") },
    {
      label: "Shut down kernel…",
      icon: ShutDownIcon,
      danger: true,
      disabled: !kernel || kernel.state === "dead",
      onSelect: () => act(page, "shut-down-kernel"),
    },
  ];
  return (
    <MenuButton
      label={`Kernel ${name} ${state}`}
      items={items}
      class={`chip kernel-chip kernel-${kernel?.state ?? "none"}`}
      chevron
    >
      <span class="dot" />
      <span class="chip-text kernel-name">{name}</span>{" "}
      {kernel?.state !== "idle" && <span class="chip-text kernel-state">{state}</span>}
    </MenuButton>
  );
}
