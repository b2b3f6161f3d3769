/** Entry of the login page. */
import { render } from "preact";
import "../theme/index.css";
import "../views/login/login.css";
import { startTheme } from "../theme/theme";
import { LoginPage } from "../views/login/LoginPage";
import { clipboardKey } from "../views/notebook/clipboard";
import { readConfig } from "./config";

startTheme();
const app = document.getElementById("app") ?? document.body;
// The form that works without scripts makes way for ours.
app.replaceChildren();
const config = readConfig();
try {
  localStorage.removeItem(clipboardKey(config.baseUrl));
} catch {
  // There is no memory in which cells could have been left.
}
render(<LoginPage config={config} />, app);
