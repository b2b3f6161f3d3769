/**
 * Writes a `.br` and a `.gz` beside every built text asset, so that the server sends bytes that were compressed once,
 * at the highest level, instead of compressing per request.
 *
 * Also writes `pages.json`, the list of what each page needs first: the server's HTML shell turns it into `<script>`,
 * `<link rel=stylesheet>` and `<link rel=modulepreload>` tags, and so never has to know Vite's manifest format.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { Plugin } from "vite";

const COMPRESSIBLE = /\.(?:js|css|svg|json|html|map|txt)$/;
/** Below this a compressed twin saves less than a packet. */
const SMALLEST = 512;

export function precompress(): Plugin {
  let folder = "";
  return {
    name: "homeport-precompress",
    apply: "build",
    configResolved(config) {
      folder = config.build.outDir;
    },
    async closeBundle() {
      for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
        if (entry.isFile() && COMPRESSIBLE.test(entry.name)) await compress(join(entry.parentPath, entry.name));
      }
    },
  };
}

async function compress(path: string): Promise<void> {
  const data = await readFile(path);
  if (data.length < SMALLEST) return;
  const parameters = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length };
  await writeFile(`${path}.br`, await promisify(brotliCompress)(data, { params: parameters }));
  await writeFile(`${path}.gz`, await promisify(gzip)(data, { level: 9 }));
}

interface Chunk {
  fileName: string;
  imports: string[];
  dynamicImports: string[];
  css: string[];
}

/** What a page's shell must load first; file names are relative to the static folder. */
export interface PageAssets {
  script: string;
  styles: string[];
  preload: string[];
}

/**
 * @param early per page, the names of lazily imported chunks that it needs at once all the same (the editor of a
 *   notebook): they are preloaded in parallel instead of being found one after another.
 */
export function pageAssets(early: Record<string, string[]>): Plugin {
  return {
    name: "homeport-pages",
    apply: "build",
    generateBundle(_options, bundle) {
      const chunks = new Map<string, Chunk>();
      const named = new Map<string, string>();
      const entries: [string, string][] = [];
      for (const item of Object.values(bundle)) {
        if (item.type !== "chunk") continue;
        const css = [...(item.viteMetadata?.importedCss ?? [])];
        chunks.set(item.fileName, {
          fileName: item.fileName,
          imports: item.imports,
          dynamicImports: item.dynamicImports,
          css,
        });
        named.set(item.name, item.fileName);
        if (item.isEntry) entries.push([item.name, item.fileName]);
      }
      const pages: Record<string, PageAssets> = {};
      for (const [name, script] of entries) {
        const files = new Set<string>();
        for (const start of [script, ...(early[name] ?? []).map((chunk) => fileOf(named, chunk))])
          reach(chunks, start, files);
        const styles = new Set([...files].flatMap((file) => chunks.get(file)?.css ?? []));
        files.delete(script);
        pages[name] = { script, styles: [...styles], preload: [...files] };
      }
      this.emitFile({ type: "asset", fileName: "pages.json", source: `${JSON.stringify(pages, null, 1)}\n` });
    },
  };
}

function fileOf(named: Map<string, string>, chunk: string): string {
  const file = named.get(chunk);
  if (!file) throw new Error(`No chunk is named "${chunk}"; chunks are: ${[...named.keys()].join(", ")}`);
  return file;
}

function reach(chunks: Map<string, Chunk>, file: string, seen: Set<string>): void {
  if (seen.has(file)) return;
  seen.add(file);
  for (const next of chunks.get(file)?.imports ?? []) reach(chunks, next, seen);
}
