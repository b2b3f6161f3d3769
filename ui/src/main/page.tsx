/** Puts the notebook page together: document, state, view. Loaded by notebook.ts. */
import { render } from "preact";
import "../views/notebook/notebook.css";
import { DocumentSync, type User } from "../model/sync";
import type { Link } from "../net/link";
import { NotebookPage } from "../views/notebook/NotebookPage";
import { Page } from "../views/notebook/page";
import type { PageConfig } from "./config";

/** Told apart on light and dark ground; who has which is up to the name. */
const COLORS = ["#b3261e", "#1a56b8", "#1b6e40", "#8a2c8f", "#9a4a00", "#0a6478", "#7d5200", "#5b3fb0"];

function userOf(config: PageConfig): User {
  const given = typeof config.user === "string" ? { name: config.user } : config.user;
  const name = given?.name || "Somebody";
  const hash = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 9973, 7);
  return { name, color: (given && "color" in given && given.color) || COLORS[hash % COLORS.length] || "#0a6478" };
}

export function start(config: PageConfig, link: Link): void {
  const sync = new DocumentSync(link, userOf(config));
  const page = new Page(config, link, sync);
  void import("../editor/editor").then((module) => {
    page.editorModule.value = module;
  });
  link.attach(sync);
  render(<NotebookPage page={page} />, document.getElementById("app") ?? document.body);
}
