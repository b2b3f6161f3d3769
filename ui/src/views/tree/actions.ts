/** What can be done to entries: one table, read by the menu of a row and by the bar of a selection. */
import type { Entry } from "../../net/jupyter";
import { askText, confirm, type MenuItem } from "../common";
import { DownloadIcon, DuplicateIcon, MoveIcon, RenameIcon, ShutDownIcon, TrashIcon } from "../common/icons";
import type { Folder } from "./folder";
import { nameTrouble, stemLength } from "./listing";
import { chooseFolder } from "./MoveDialog";
import type { Places } from "./places";

export async function rename(folder: Folder, entry: Entry): Promise<void> {
  const name = await askText({
    title: "Rename",
    label: "New name",
    value: entry.name,
    action: "Rename",
    select: stemLength(entry),
    check: (value) => nameTrouble(value, (other) => other !== entry.name && folder.taken(other)),
  });
  if (name !== null) await folder.rename(entry, name);
}

/** Moves to another folder, which is asked for. */
export async function move(folder: Folder, entries: readonly Entry[]): Promise<void> {
  const to = await chooseFolder(folder, entries);
  if (to !== null) await folder.move(entries, to);
}

/** Moves to the trash, if that is confirmed. @returns whether it was. */
export async function remove(folder: Folder, entries: readonly Entry[]): Promise<boolean> {
  const [first] = entries;
  if (!first) return false;
  const what = entries.length === 1 ? `“${first.name}”` : `${entries.length} items`;
  const within = (path: string) => entries.some((entry) => path === entry.path || path.startsWith(`${entry.path}/`));
  const running = [...folder.sessionByPath.value.keys()].filter(within).length;
  const warning =
    running > 0
      ? ` ${running === 1 ? "A kernel runs for it and is" : `${running} kernels run for it and are`} shut down: what runs is stopped and variables are lost.`
      : "";
  const yes = await confirm({
    title: `Move ${what} to the trash?`,
    text: `You can get it back from the trash of the machine.${warning}`,
    action: "Move to trash",
    danger: true,
  });
  if (yes) await folder.remove(entries);
  return yes;
}

export async function createFolder(folder: Folder): Promise<void> {
  const name = await askText({
    title: "New folder",
    label: "Name",
    value: "",
    action: "Make folder",
    check: (value) => nameTrouble(value, folder.taken),
  });
  if (name !== null) await folder.createFolder(name);
}

export async function shutdownKernels(folder: Folder, ids: readonly string[]): Promise<void> {
  const many = ids.length > 1;
  const yes = await confirm({
    title: many ? `Shut down ${ids.length} kernels?` : "Shut down this kernel?",
    text: "What runs is stopped and variables are lost. Notebooks and their outputs stay.",
    action: many ? "Shut down all" : "Shut down kernel",
    danger: true,
  });
  if (yes) await folder.shutdownKernels(ids);
}

/** Saves files through the browser, one after the other. */
export function download(places: Places, entries: readonly Entry[]): void {
  for (const entry of entries) {
    const link = document.createElement("a");
    link.href = places.download(entry);
    link.download = entry.name;
    link.click();
  }
}

export function entryMenu(folder: Folder, places: Places, entry: Entry): MenuItem[] {
  const kernel = folder.sessionByPath.value.get(entry.path)?.kernel;
  const file = entry.type === "file" || entry.type === "notebook";
  const items: (MenuItem | false)[] = [
    { label: "Rename", icon: RenameIcon, hint: "F2", onSelect: () => void rename(folder, entry) },
    { label: "Move to…", icon: MoveIcon, onSelect: () => void move(folder, [entry]) },
    file && { label: "Duplicate", icon: DuplicateIcon, onSelect: () => void folder.duplicate([entry]) },
    file && { label: "Download", icon: DownloadIcon, href: places.download(entry), download: entry.name },
    kernel !== undefined &&
      kernel !== null && {
        label: "Shut down kernel",
        icon: ShutDownIcon,
        onSelect: () => void shutdownKernels(folder, [kernel.id]),
      },
    "separator",
    {
      label: "Move to trash",
      icon: TrashIcon,
      danger: true,
      hint: "Delete",
      onSelect: () => void remove(folder, [entry]),
    },
  ];
  return items.filter((item) => item !== false);
}
