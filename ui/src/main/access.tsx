/** Entry of the page of logins and tokens. */
import { render } from "preact";
import "../theme/index.css";
import "../views/access/access.css";
import { rest } from "../net/rest";
import { startTheme } from "../theme/theme";
import { AccessPage } from "../views/access/AccessPage";
import { AccessList } from "../views/access/access_list";
import { readConfig } from "./config";

startTheme();
const config = readConfig();
const list = new AccessList(rest(config.baseUrl));
const app = document.getElementById("app") ?? document.body;
app.replaceChildren();
render(<AccessPage config={config} list={list} />, app);
void list.refresh();
// A page that comes back into view shows what is so now.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void list.refresh();
});
