/** The notebook page itself, loaded by its entry. */
import { render } from "preact";
import type { PageConfig } from "./config";

export function start(config: PageConfig): void {
  const app = document.getElementById("app") ?? document.body;
  render(<p>{config.path}</p>, app);
  void import("../editor/editor");
}
