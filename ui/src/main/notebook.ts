/** Entry of the notebook page: opens the link while the rest is still loading. */
import { readConfig } from "./config";

const config = readConfig();
void import("./page").then(({ start }) => start(config));
