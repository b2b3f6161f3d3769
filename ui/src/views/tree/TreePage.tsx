/** The page of a folder: its files, or the kernels that run. */
import { useSignal } from "@preact/signals";
import { Fragment, type JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { PageConfig } from "../../main/config";
import { sizeText } from "../../outputs/dom";
import { Banner, Brand, Button, Icon, IconButton, ThemeMenu, Toaster } from "../common";
import { ChevronRightIcon, CloseIcon, HomeIcon, KeyIcon, LogOutIcon, RetryIcon } from "../common/icons";
import { FileList } from "./FileList";
import type { Folder } from "./folder";
import { crumbs } from "./listing";
import type { Places } from "./places";
import { Running } from "./Running";
import { NewFolderButton, NewNotebook, SelectionBar, Toolbar, UploadButton } from "./Toolbar";
import type { Upload, Uploads } from "./uploads";

export interface TreePageProps {
  config: PageConfig;
  folder: Folder;
  uploads: Uploads;
  places: Places;
}

const RUNNING = "#running";

export function TreePage({ config, folder, uploads, places }: TreePageProps): JSX.Element {
  const tab = useSignal(location.hash === RUNNING ? "running" : "files");
  const go = useNavigation(folder, places, (name) => {
    tab.value = name;
  });
  const running = tab.value === "running";
  return (
    <div class="tree-page">
      <header class="page-header">
        <Brand href={places.folder("")} />
        <nav class="tabs" aria-label="Sections">
          <a
            href={places.folder(folder.path.value)}
            aria-current={running ? undefined : "page"}
            onClick={(event) => show(event, "")}
          >
            Files
          </a>
          <a href={RUNNING} aria-current={running ? "page" : undefined} onClick={(event) => show(event, RUNNING)}>
            Running
            {folder.kernels.value.length > 0 && <span class="count">{folder.kernels.value.length}</span>}
          </a>
        </nav>
        <div class="page-header-end">
          <ThemeMenu />
          <a
            class="button icon-button button-quiet"
            href={`${places.baseUrl}access`}
            aria-label="Logins and tokens"
            title="Logins and tokens"
          >
            <Icon icon={KeyIcon} />
          </a>
          {config.logout !== false && <LogOut baseUrl={places.baseUrl} />}
        </div>
      </header>
      <main class="tree-main">
        <Trouble folder={folder} places={places} go={go} />
        {running ? (
          <>
            <h1 class="page-title">Running kernels</h1>
            <Running folder={folder} places={places} />
          </>
        ) : (
          <Files folder={folder} uploads={uploads} places={places} go={go} />
        )}
      </main>
      <UploadPanel uploads={uploads} />
      <Toaster />
    </div>
  );

  function show(event: MouseEvent, hash: string): void {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    tab.value = hash === RUNNING ? "running" : "files";
    history.pushState(null, "", places.folder(folder.path.value) + hash);
    void folder.refresh();
  }
}

/** Folders open without a new page; the browser's back and forward go through them. */
function useNavigation(folder: Folder, places: Places, setTab: (tab: string) => void): (path: string) => void {
  useEffect(() => {
    const root = new URL(places.folder(""), location.href).pathname;
    const onPop = () => {
      setTab(location.hash === RUNNING ? "running" : "files");
      const path = decodeURIComponent(location.pathname.slice(root.length).replace(/^\/|\/$/g, ""));
      if (path !== folder.path.value) void folder.open(path);
    };
    addEventListener("popstate", onPop);
    return () => removeEventListener("popstate", onPop);
  }, [folder, places, setTab]);
  return (path) => {
    void folder.open(path).then((opened) => {
      if (!opened) return;
      history.pushState(null, "", places.folder(path));
      setTab("files");
      scrollTo({ top: 0 });
      document.querySelector<HTMLElement>(".breadcrumbs [aria-current]")?.focus({ preventScroll: true });
    });
  };
}

function LogOut({ baseUrl }: { baseUrl: string }): JSX.Element {
  return <IconButton label="Log out" icon={LogOutIcon} onClick={() => location.assign(`${baseUrl}logout`)} />;
}

interface FilesProps {
  folder: Folder;
  uploads: Uploads;
  places: Places;
  go: (path: string) => void;
}

function Files({ folder, uploads, places, go }: FilesProps): JSX.Element {
  const dropping = useDrop(uploads);
  const empty = folder.entries.value.length === 0 && folder.opening.value === null;
  const selecting = folder.chosen.value.length > 0;
  const filtered = !empty && folder.shown.value.length === 0 && folder.filter.value.trim() !== "";
  return (
    <>
      <Breadcrumbs folder={folder} places={places} go={go} />
      {empty && <EmptyFolder folder={folder} uploads={uploads} places={places} />}
      {!empty && selecting && <SelectionBar folder={folder} places={places} />}
      {!empty && !selecting && <Toolbar folder={folder} uploads={uploads} places={places} />}
      {!empty && <FileList folder={folder} places={places} go={go} />}
      {filtered && (
        <div class="empty">
          <p>No name here contains “{folder.filter.value.trim()}”.</p>
          <Button
            onClick={() => {
              folder.filter.value = "";
            }}
          >
            Show all files
          </Button>
        </div>
      )}
      {dropping && (
        <div class="drop-target" aria-hidden="true">
          <p>Drop to upload to “{crumbs(folder.path.value).at(-1)?.name ?? "Files"}”</p>
        </div>
      )}
    </>
  );
}

function Breadcrumbs({ folder, places, go }: Omit<FilesProps, "uploads">): JSX.Element {
  const path = folder.path.value;
  const steps = [{ name: "Files", path: "" }, ...crumbs(path)];
  return (
    <nav class="breadcrumbs" aria-label="Folder path">
      <ol>
        {steps.map((step, index) => (
          <Fragment key={step.path}>
            {index > 0 && (
              <li class="crumb-separator" aria-hidden="true">
                <Icon icon={ChevronRightIcon} size={14} />
              </li>
            )}
            <li>
              {step.path === path ? (
                <h1 class="crumb" aria-current="page" tabIndex={-1}>
                  {index === 0 && <Icon icon={HomeIcon} size={16} />}
                  {step.name}
                </h1>
              ) : (
                <a
                  class="crumb"
                  href={places.folder(step.path)}
                  onClick={(event) => {
                    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
                    event.preventDefault();
                    go(step.path);
                  }}
                >
                  {index === 0 && <Icon icon={HomeIcon} size={16} />}
                  {step.name}
                </a>
              )}
            </li>
          </Fragment>
        ))}
      </ol>
    </nav>
  );
}

function EmptyFolder({ folder, uploads, places }: Omit<FilesProps, "go">): JSX.Element {
  const welcome = async () => {
    const path = await folder.createWelcome();
    if (path !== null) location.assign(places.notebook(path));
  };
  return (
    <div class="empty">
      <h2>This folder is empty</h2>
      <p>Start a notebook, or drop files anywhere on this page to upload them.</p>
      <div class="empty-actions">
        <NewNotebook folder={folder} places={places} />
        <NewFolderButton folder={folder} />
        <UploadButton uploads={uploads} />
      </div>
      <p>New here?</p>
      <Button onClick={() => void welcome()}>Open the welcome notebook</Button>
    </div>
  );
}

function Trouble({ folder, places, go }: Omit<FilesProps, "uploads">): JSX.Element | null {
  const trouble = folder.trouble.value;
  if (!trouble) return null;
  const offline = trouble.status === 0;
  const actions =
    trouble.status === 401 ? (
      <Button onClick={() => location.assign(`${places.baseUrl}login?next=${encodeURIComponent(location.pathname)}`)}>
        Log in again
      </Button>
    ) : (
      <>
        <Button icon={RetryIcon} onClick={() => void folder.refresh()}>
          Try again
        </Button>
        {trouble.status === 404 && <Button onClick={() => go("")}>Go to the first folder</Button>}
      </>
    );
  return (
    <Banner level={offline ? "warning" : "error"} actions={actions}>
      {offline
        ? "The server does not answer. What runs there runs on; this page tries again by itself."
        : trouble.message}
    </Banner>
  );
}

function UploadPanel({ uploads }: { uploads: Uploads }): JSX.Element | null {
  const list = uploads.list.value;
  if (list.length === 0) return null;
  return (
    <section class="uploads" aria-label="Uploads">
      {list.map((upload) => (
        <UploadRow key={upload.key} upload={upload} />
      ))}
    </section>
  );
}

function UploadRow({ upload }: { upload: Upload }): JSX.Element {
  const failed = upload.state === "failed";
  return (
    <div class="upload">
      <div class="upload-text">
        <span class="upload-name">{upload.name}</span>
        {failed ? (
          <span class="upload-error" role="alert">
            {upload.error}
          </span>
        ) : (
          <span class="row-facts">
            {upload.state === "waiting" ? "Waiting" : `${sizeText(upload.sent)} of ${sizeText(upload.size)}`}
          </span>
        )}
        {!failed && (
          <progress max={Math.max(1, upload.size)} value={upload.sent} aria-label={`Upload of ${upload.name}`} />
        )}
      </div>
      <IconButton
        label={failed ? `Dismiss ${upload.name}` : `Cancel upload of ${upload.name}`}
        icon={CloseIcon}
        onClick={upload.cancel}
      />
    </div>
  );
}

/** Files may be dropped anywhere on the page. True while files are held over it. */
function useDrop(uploads: Uploads): boolean {
  const over = useSignal(false);
  useEffect(() => {
    let depth = 0;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
    const enter = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth += 1;
      over.value = true;
    };
    const leave = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth -= 1;
      over.value = depth > 0;
    };
    const hover = (event: DragEvent) => {
      if (hasFiles(event)) event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      over.value = false;
      void uploads.add([...(event.dataTransfer?.files ?? [])]);
    };
    const listeners = [
      ["dragenter", enter],
      ["dragleave", leave],
      ["dragover", hover],
      ["drop", drop],
    ] as const;
    for (const [name, listener] of listeners) addEventListener(name, listener);
    return () => {
      for (const [name, listener] of listeners) removeEventListener(name, listener);
    };
  }, [uploads, over]);
  return over.value;
}
