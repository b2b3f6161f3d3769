import { defineConfig } from "vitest/config";
import { katexFonts } from "./build/katex.ts";
import { pageAssets, precompress } from "./build/precompress.ts";

/**
 * Five pages, one entry each. URLs inside the assets are relative, so that one build serves under any `base_url`.
 */
export default defineConfig({
  base: "./",
  publicDir: false,
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../src/homeport/static",
    emptyOutDir: true,
    manifest: true,
    target: ["chrome111", "firefox114", "safari16.4"],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rollupOptions: {
      input: {
        notebook: "src/main/notebook.ts",
        tree: "src/main/tree.tsx",
        access: "src/main/access.tsx",
        login: "src/main/login.tsx",
        error: "src/main/error.tsx",
      },
    },
  },
  plugins: [katexFonts(), pageAssets({ notebook: ["page", "editor"] }), precompress()],
  test: { include: ["src/**/*.test.ts", "src/**/*.test.tsx"], environment: "node" },
});
