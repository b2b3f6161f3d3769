/** Entry of the tree page. */
import { render } from "preact";
import { readConfig } from "./config";

const config = readConfig();
const app = document.getElementById("app") ?? document.body;
render(<p>{config.path}</p>, app);
