/**
 * Entry of the notebook page. Small, so that the link to the server opens while the page itself and the editor are still on
 * their way.
 */
import "../theme/index.css";
import { Link, newId } from "../net/link";
import { startTheme } from "../theme/theme";
import { readConfig } from "./config";

startTheme();
const config = readConfig();
const link = new Link({ baseUrl: config.baseUrl, path: config.path, ticket: config.ticket, client: newId() });
link.start();
void import("./page").then(({ start }) => start(config, link));
