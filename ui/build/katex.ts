/** KaTeX's style sheet names each font three times; every browser that we build for reads woff2, so the other two are left out. */
import type { Plugin } from "vite";

export function katexFonts(): Plugin {
  return {
    name: "homeport-katex-fonts",
    enforce: "pre",
    transform(code, id) {
      if (!/katex(?:\.min)?\.css$/.test(id)) return null;
      return code.replace(/,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\("(?:woff|truetype)"\)/g, "");
    },
  };
}
