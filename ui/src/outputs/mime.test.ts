import { describe, expect, it } from "vitest";
import { missing, undrawable } from "./mime";

const PLOTLY = "application/vnd.plotly.v1+json";
const WIDGET = "application/vnd.jupyter.widget-view+json";

describe("what an output lacks", () => {
  it("is said of a figure that nothing else stands for", () => {
    expect(missing([PLOTLY])).toContain("Plotly");
    expect(missing([PLOTLY, "text/plain"])).toContain("Plotly");
    expect(missing([PLOTLY, "text/html", "text/plain"])).toBeNull();
    expect(missing([PLOTLY, "image/png"])).toBeNull();
  });

  it("is said of widgets whatever they offer, and not of what can be drawn", () => {
    expect(missing([WIDGET, "text/html"])).toContain("widget");
    expect(missing(["text/plain"])).toBeNull();
    expect(undrawable(["x/y"])).toContain("x/y");
    expect(undrawable([])).toBeNull();
  });
});
