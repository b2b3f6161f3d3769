/** Entry of the error page. */
import { render } from "preact";
import "../theme/index.css";
import { startTheme } from "../theme/theme";
import { ErrorPage } from "../views/error/ErrorPage";
import { readConfig } from "./config";

startTheme();
const app = document.getElementById("app") ?? document.body;
app.replaceChildren();
render(<ErrorPage config={readConfig()} />, app);
