/** The notebook page as a whole. */
import { useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { PageConfig } from "../../main/config";
import { Toaster } from "../common";
import type { ErrorPage } from "../error/ErrorPage";
import { Banners } from "./Banners";
import { CellList } from "./CellList";
import { FindBar } from "./FindBar";
import { Header, linkWords } from "./Header";
import { Help } from "./Help";
import { History } from "./History";
import type { Page } from "./page";

export function NotebookPage({ page }: { page: Page }): JSX.Element {
  useRootData(page);
  useAnnouncements(page);
  useLeaveWarning(page);
  if (page.failure.value && !page.loaded.value) return <CannotOpen config={page.failure.value} />;
  return (
    <>
      <Header page={page} />
      <FindBar page={page} />
      <main class="notebook-body">
        <Banners page={page} />
        {page.loaded.value ? <CellList page={page} /> : <Opening page={page} />}
      </main>
      <Help page={page} />
      <History page={page} />
      <div class="hidden-visually" role="status" aria-live="polite">
        {page.announcement.value}
      </div>
      <Toaster />
    </>
  );
}

/** The server found out too late for an error page of its own: the same page, here. */
function CannotOpen({ config }: { config: PageConfig }): JSX.Element | null {
  const view = useSignal<typeof ErrorPage | null>(null);
  useEffect(() => {
    void import("../error/ErrorPage").then((module) => {
      view.value = module.ErrorPage;
    });
  }, [view]);
  const View = view.value;
  return View && <View config={config} />;
}

function Opening({ page }: { page: Page }): JSX.Element {
  const { status, reason } = page.linkView.value;
  return (
    <div class="opening" aria-busy="true">
      {reason && status !== "online" ? <p>{reason}</p> : null}
      <span class="opening-bar" />
      <span class="opening-bar" />
      <span class="opening-bar" />
    </div>
  );
}

/** The page's state as attributes of the root element: for style sheets, tests and benchmarks. */
function useRootData(page: Page): void {
  useSignalEffect(() => {
    const { status, waiting, transport } = page.linkView.value;
    const data = document.documentElement.dataset;
    data.link = status;
    data.waiting = String(waiting);
    data.transport = transport;
    data.kernel = page.server.kernel.value?.state ?? "none";
    data.save = page.server.save.value.state;
    data.queue = String(page.server.queue.value.length);
    data.loaded = String(page.loaded.value);
    data.mode = page.mode.value;
  });
  useSignalEffect(() => {
    const path = page.path.value;
    const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.ipynb$/i, "");
    const busy = page.server.kernel.value?.state === "busy" || page.server.queue.value.length > 0;
    document.title = `${busy ? "● " : ""}${name} – Homeport`;
  });
}

/** Tells people who hear the page about the link, the kernel and the end of the work. */
function useAnnouncements(page: Page): void {
  const before = useRef({ status: "connecting", kernel: "none", queue: 0 });
  useSignalEffect(() => {
    const { status } = page.linkView.value;
    const kernel = page.server.kernel.value?.state ?? "none";
    const queue = page.server.queue.value.length;
    const old = before.current;
    before.current = { status, kernel, queue };
    if (status !== old.status && old.status !== "connecting") page.announce(linkWords(status, 0));
    else if (kernel !== old.kernel && (kernel === "dead" || old.kernel === "restarting"))
      page.announce(`Kernel ${kernel}`);
    else if (queue === 0 && old.queue > 0) {
      const stopped = page.server.notices.value.find((notice) => notice.key === "stopped");
      page.announce(stopped?.text ?? "Nothing is left to run");
    }
  });
}

/** Leaving with changes that only this page has would lose them. */
function useLeaveWarning(page: Page): void {
  useEffect(() => {
    const leaving = (event: BeforeUnloadEvent): void => {
      const { waiting, status } = page.link.view;
      if (waiting > 0 && status !== "online") event.preventDefault();
    };
    addEventListener("beforeunload", leaving);
    return () => removeEventListener("beforeunload", leaving);
  }, [page]);
}
