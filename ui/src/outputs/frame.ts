/**
 * A frame in which an output may run: its own null origin, no cookies, no way into our page.
 *
 * The frame loads `frame` from the server (an empty page whose Content-Security-Policy sandboxes it and allows scripts; a
 * srcdoc or blob frame would inherit our page's policy, which allows none). It says it is ready, is sent the HTML, and tells
 * its height from then on. Messages count only from the frame's own window, and only a number is taken from them.
 */
import { effectiveTheme, onThemeChange } from "../theme/theme";
import { element } from "./dom";

/** Pixels. A frame that wants more scrolls inside. */
const TALLEST = 10_000;
/** A page that is a little taller than its window, whatever its window, would grow for ever: then growing stops. */
const GROWTHS_IN_A_ROW = 50;

export class SandboxFrame {
  readonly place: HTMLIFrameElement;
  readonly #html: string;
  #height = 0;
  #growths = 0;
  readonly #stop: () => void;

  /** @param baseUrl starts and ends with "/". */
  constructor(html: string, baseUrl: string) {
    this.#html = html;
    this.place = element("iframe", {
      class: "output-frame",
      // No allow-same-origin, ever: with it the frame would be a part of our page.
      sandbox: "allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads allow-forms",
      allow: "fullscreen; clipboard-write",
      referrerpolicy: "no-referrer",
      title: "Output that runs in a sandbox",
      src: `${baseUrl}frame`,
    });
    const receive = (event: MessageEvent) => this.#receive(event);
    addEventListener("message", receive);
    const unfollow = onThemeChange(() => this.#send({ look: look() }));
    this.#stop = () => {
      removeEventListener("message", receive);
      unfollow();
    };
  }

  destroy(): void {
    this.#stop();
    this.place.remove();
  }

  #receive(event: MessageEvent): void {
    if (event.source !== this.place.contentWindow || typeof event.data !== "object" || event.data === null) return;
    const { homeport, height } = event.data as { homeport?: unknown; height?: unknown };
    if (homeport === "ready") this.#send({ html: this.#html, look: look() });
    if (homeport === "height" && typeof height === "number" && Number.isFinite(height)) this.#resize(height);
  }

  #resize(height: number): void {
    const next = Math.max(0, Math.min(TALLEST, Math.ceil(height)));
    this.#growths = next > this.#height ? this.#growths + 1 : 0;
    if (next === this.#height || this.#growths > GROWTHS_IN_A_ROW) return;
    this.#height = next;
    this.place.style.height = `${next}px`;
  }

  #send(message: object): void {
    // "*" because a null origin has no name; the window was loaded by us, and the HTML is the output itself.
    this.place.contentWindow?.postMessage({ homeport: "show", ...message }, "*");
  }
}

/** The colours of our page, so that text in the frame is readable in either theme. */
function look(): { scheme: string; color: string; font: string } {
  const style = getComputedStyle(document.documentElement);
  return { scheme: effectiveTheme(), color: style.color, font: style.font };
}
