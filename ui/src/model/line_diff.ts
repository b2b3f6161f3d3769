/** The difference of two texts by lines, for people to read: a longest common subsequence. */

export interface DiffLine {
  kind: "same" | "removed" | "added";
  text: string;
}

/** Above so many comparisons the middle is shown as removed and added as a whole: nobody reads such a difference line by line. */
const MOST = 2_000_000;

export function lineDiff(before: string, after: string): DiffLine[] {
  const old = before.split("\n");
  const now = after.split("\n");
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old.at(-1 - end) === now.at(-1 - end)) end++;
  return [
    ...all("same", old.slice(0, start)),
    ...middle(old.slice(start, old.length - end), now.slice(start, now.length - end)),
    ...all("same", old.slice(old.length - end)),
  ];
}

function all(kind: DiffLine["kind"], lines: string[]): DiffLine[] {
  return lines.map((text) => ({ kind, text }));
}

function middle(old: string[], now: string[]): DiffLine[] {
  if (old.length * now.length > MOST) return [...all("removed", old), ...all("added", now)];
  // longest[i * width + j]: length of the longest common subsequence of old[i..] and now[j..].
  const width = now.length + 1;
  const longest = new Uint32Array((old.length + 1) * width);
  const at = (i: number, j: number): number => longest[i * width + j] ?? 0;
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = now.length - 1; j >= 0; j--)
      longest[i * width + j] = old[i] === now[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      lines.push({ kind: "same", text: old[i] ?? "" });
      i++;
      j++;
    } else if (j >= now.length || (i < old.length && at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ kind: "removed", text: old[i] ?? "" });
      i++;
    } else {
      lines.push({ kind: "added", text: now[j] ?? "" });
      j++;
    }
  }
  return lines;
}
