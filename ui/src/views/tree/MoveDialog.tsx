/** Asks for the folder that entries are moved to: one walks from folder to folder, and says "here". */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Entry, parentOf } from "../../net/jupyter";
import { Button, Dialog, showDialog } from "../common";
import { FolderIcon, UpIcon } from "../common/icons";
import type { Folder } from "./folder";
import { crumbs } from "./listing";

/** @returns the path of the chosen folder, or null when the dialog was closed. */
export function chooseFolder(folder: Folder, entries: readonly Entry[]): Promise<string | null> {
  return showDialog<string>((done) => <MoveDialog folder={folder} entries={entries} done={done} />);
}

interface Place {
  path: string;
  /** Folders in it. */
  folders: readonly Entry[];
}

function MoveDialog({
  folder,
  entries,
  done,
}: {
  folder: Folder;
  entries: readonly Entry[];
  done: (answer: string | null) => void;
}): JSX.Element {
  const place = useSignal<Place>({ path: folder.path.value, folders: [] });
  const trouble = useSignal("");
  const list = useRef<HTMLUListElement>(null);
  const moved = new Set(entries.map((entry) => entry.path));
  const go = async (path: string): Promise<void> => {
    try {
      const folders = (await folder.foldersIn(path)).filter((each) => !moved.has(each.path));
      place.value = { path, folders };
      trouble.value = "";
    } catch (error) {
      trouble.value = (error as Error).message;
    }
  };
  // The button that was pressed is gone with its folder: the keys go on at the first of the next one.
  useEffect(() => list.current?.querySelector("button")?.focus(), [place.value]);
  useEffect(() => void go(folder.path.value), []);

  const { path, folders } = place.value;
  const names = ["Files", ...crumbs(path).map((crumb) => crumb.name)];
  const what = entries.length === 1 ? `“${entries[0]?.name}”` : `${entries.length} items`;
  const same = path === folder.path.value;
  return (
    <Dialog
      title={`Move ${what}`}
      onClose={() => done(null)}
      actions={
        <>
          <Button onClick={() => done(null)}>Cancel</Button>
          <Button variant="primary" disabled={same} onClick={() => done(path)}>
            {same ? "Move here" : `Move to “${names.at(-1)}”`}
          </Button>
        </>
      }
    >
      <p role="status">
        To <strong>{names.join(" / ")}</strong>
        {same ? ", where it is now: choose another folder." : ""}
      </p>
      {trouble.value && <p role="alert">{trouble.value}</p>}
      <ul ref={list} class="pick pick-folder">
        {path !== "" && (
          <li>
            <Button icon={UpIcon} onClick={() => void go(parentOf(path))}>
              <span>Up to “{names.at(-2)}”</span>
            </Button>
          </li>
        )}
        {folders.map((each) => (
          <li key={each.path}>
            <Button icon={FolderIcon} onClick={() => void go(each.path)}>
              <span>{each.name}</span>
            </Button>
          </li>
        ))}
      </ul>
      {path === "" && folders.length === 0 && <p>There is no other folder. “New folder” makes one.</p>}
    </Dialog>
  );
}
