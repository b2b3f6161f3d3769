/** What can be made in a folder, and what can be done to a selection. */
import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { Button, Icon, IconButton, MenuButton } from "../common";
import {
  CloseIcon,
  DownloadIcon,
  DuplicateIcon,
  MoveIcon,
  NewFolderIcon,
  PlusIcon,
  SearchIcon,
  ShutDownIcon,
  TrashIcon,
  UploadIcon,
} from "../common/icons";
import { createFolder, download, move, remove, shutdownKernels } from "./actions";
import type { Folder } from "./folder";
import type { Places } from "./places";
import type { Uploads } from "./uploads";

export interface ToolbarProps {
  folder: Folder;
  uploads: Uploads;
  places: Places;
}

export function Toolbar({ folder, uploads, places }: ToolbarProps): JSX.Element {
  return (
    <div class="toolbar">
      <NewNotebook folder={folder} places={places} />
      <NewFolderButton folder={folder} />
      <UploadButton uploads={uploads} />
      <Filter folder={folder} />
    </div>
  );
}

/** Makes a notebook for the default kernel, or for another one chosen from the menu, and opens it. */
export function NewNotebook({ folder, places }: { folder: Folder; places: Places }): JSX.Element {
  const specs = folder.kernelspecs.value;
  const create = async (name: string | undefined) => {
    const path = await folder.createNotebook((name !== undefined && specs?.kernelspecs[name]) || null);
    if (path !== null) location.assign(places.notebook(path));
  };
  const choices = Object.values(specs?.kernelspecs ?? {});
  return (
    <div class="button-group">
      <Button variant="primary" icon={PlusIcon} onClick={() => void create(specs?.default)}>
        New notebook
      </Button>
      <MenuButton
        label="Choose a kernel"
        variant="primary"
        chevron
        disabled={choices.length === 0}
        items={() =>
          choices.map(({ name, spec }) => ({
            label: spec.display_name,
            hint: name === specs?.default ? "default" : spec.language,
            onSelect: () => void create(name),
          }))
        }
      />
    </div>
  );
}

export function NewFolderButton({ folder }: { folder: Folder }): JSX.Element {
  return (
    <Button icon={NewFolderIcon} class="wide-label" aria-label="New folder" onClick={() => void createFolder(folder)}>
      <span>New folder</span>
    </Button>
  );
}

export function UploadButton({ uploads }: { uploads: Uploads }): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <Button icon={UploadIcon} class="wide-label" aria-label="Upload files" onClick={() => input.current?.click()}>
        <span>Upload</span>
      </Button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label="Files to upload"
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          // The same file can be chosen again.
          event.currentTarget.value = "";
          void uploads.add(files);
        }}
      />
    </>
  );
}

function Filter({ folder }: { folder: Folder }): JSX.Element {
  return (
    <div class="filter">
      <Icon icon={SearchIcon} size={16} />
      <input
        class="input"
        type="search"
        placeholder="Filter by name"
        aria-label="Filter by name"
        autocomplete="off"
        spellcheck={false}
        value={folder.filter.value}
        onInput={(event) => {
          folder.filter.value = event.currentTarget.value;
        }}
      />
    </div>
  );
}

/** Stands in the toolbar's place while something is selected. */
export function SelectionBar({ folder, places }: { folder: Folder; places: Places }): JSX.Element {
  const chosen = folder.chosen.value;
  const files = chosen.filter((entry) => entry.type === "file" || entry.type === "notebook");
  const kernels = chosen.flatMap((entry) => folder.sessionByPath.value.get(entry.path)?.kernel?.id ?? []);
  return (
    <div class="toolbar selection-bar" role="toolbar" aria-label="Selection">
      <IconButton label="Clear selection" icon={CloseIcon} onClick={() => folder.selectAll(false)} />
      <strong class="selection-count">{chosen.length} selected</strong>
      <Button class="wide-label" icon={MoveIcon} aria-label="Move to…" onClick={() => void move(folder, chosen)}>
        <span>Move to…</span>
      </Button>
      {files.length > 0 && (
        <>
          <Button
            class="wide-label"
            icon={DuplicateIcon}
            aria-label="Duplicate"
            onClick={() => void folder.duplicate(files)}
          >
            <span>Duplicate</span>
          </Button>
          <Button class="wide-label" icon={DownloadIcon} aria-label="Download" onClick={() => download(places, files)}>
            <span>Download</span>
          </Button>
        </>
      )}
      {kernels.length > 0 && (
        <Button
          class="wide-label"
          icon={ShutDownIcon}
          aria-label="Shut down kernels"
          onClick={() => void shutdownKernels(folder, kernels)}
        >
          <span>Shut down kernels</span>
        </Button>
      )}
      <Button
        class="wide-label"
        icon={TrashIcon}
        aria-label="Move to trash"
        onClick={() => void remove(folder, chosen)}
      >
        <span>Move to trash</span>
      </Button>
    </div>
  );
}
