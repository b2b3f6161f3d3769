/** Entry of the tree page. */
import { effect } from "@preact/signals";
import { render } from "preact";
import "../theme/index.css";
import "../views/tree/tree.css";
import { jupyter } from "../net/jupyter";
import { rest } from "../net/rest";
import { startTheme } from "../theme/theme";
import { Folder, placesOf, TreePage, Uploads } from "../views/tree";
import { readConfig } from "./config";

startTheme();
const config = readConfig();
const folder = new Folder(jupyter(rest(config.baseUrl)));
const uploads = new Uploads(folder);
// Known before the list is here, so that the page stands at once.
folder.path.value = config.path;
render(
  <TreePage config={config} folder={folder} uploads={uploads} places={placesOf(config.baseUrl)} />,
  document.getElementById("app") ?? document.body,
);
effect(() => {
  document.title = `${folder.path.value.split("/").at(-1) || "Files"} · Homeport`;
});
void folder.open(config.path).then(() => folder.refresh());
folder.watch();
