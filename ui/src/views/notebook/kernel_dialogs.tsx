/** Questions about the kernel: restart, change, shut down. */
import { confirm, pick, toast } from "../common";
import type { Page } from "./page";

interface Kernelspecs {
  default: string;
  kernelspecs: Record<string, { name: string; spec: { display_name: string; language: string } }>;
}

/** Asks first, because variables are lost; says what else would be. */
export async function restartKernel(page: Page, how: { runAll?: boolean; clear?: boolean }): Promise<void> {
  const kernel = page.server.kernel.peek();
  const action = how.runAll ? "Restart and run all cells" : how.clear ? "Restart and clear outputs" : "Restart";
  const alive = kernel !== null && kernel.state !== "dead";
  if (alive && !(await confirm({ title: "Restart the kernel?", text: whatIsLost(page), action, danger: true }))) return;
  if (how.clear) page.notebook.clearOutputs(page.cells.peek().map((view) => view.id));
  if (how.runAll)
    for (const view of page.cells.peek()) if (view.cell.peek().type === "markdown") view.editing.value = false;
  await page.request("restart", how.runAll ? { run_all: true } : {});
}

export async function shutDownKernel(page: Page): Promise<void> {
  const question = { title: "Shut down the kernel?", text: whatIsLost(page), action: "Shut down", danger: true };
  if (await confirm(question)) await page.request("shutdown_kernel");
}

/** Offers the kernelspecs of the server; the chosen one is started in place of the kernel that is there. */
export async function changeKernel(page: Page): Promise<void> {
  let specs: Kernelspecs;
  try {
    specs = await page.rest.get<Kernelspecs>("api/kernelspecs");
  } catch (error) {
    toast(`The list of kernels could not be read. ${(error as Error).message}`, { level: "error" });
    return;
  }
  const running = page.server.kernel.peek();
  const language = page.language.peek();
  // The notebook's own language first, and last the kernel that has just failed.
  const rank = (entry: Kernelspecs["kernelspecs"][string]): number =>
    running?.state === "dead" && entry.name === running.name ? 2 : entry.spec.language === language ? 0 : 1;
  const entries = Object.values(specs.kernelspecs).sort(
    (a, b) => rank(a) - rank(b) || a.spec.display_name.localeCompare(b.spec.display_name),
  );
  const name = await pick({
    title: "Choose a kernel",
    text:
      running && running.state !== "dead" ? whatIsLost(page) : "It starts now, and runs the cells of this notebook.",
    choices: entries.map(({ name: value, spec }) => ({ value, label: spec.display_name, note: spec.language })),
  });
  if (name) await page.request("start_kernel", { name });
}

function whatIsLost(page: Page): string {
  const queue = page.server.queue.peek();
  const running = queue.filter((entry) => entry.state === "running").length;
  const waiting = queue.length - running;
  const work = [running ? "the running cell is stopped" : "", waiting ? cells(waiting) : ""].filter(Boolean).join(", ");
  return `All variables are lost${work ? `; ${work}` : ""}. Outputs stay.`;
}

function cells(count: number): string {
  return count === 1 ? "1 waiting cell is taken out of the queue" : `${count} waiting cells are taken out of the queue`;
}
