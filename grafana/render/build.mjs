// Bundles the page into a directory: node build.mjs DIRECTORY
import { cp, mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = process.argv[2];

// What no panel here draws with: an editor of code and maps.
const unused = {
  name: "unused",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(monaco-editor|react-monaco-editor|@monaco-editor\/react|ol)(\/|$)/ }, ({ path }) => ({
      path,
      namespace: "unused",
    }));
    onLoad({ filter: /.*/, namespace: "unused" }, () => ({
      contents: "module.exports = new Proxy(function () {}, { get: (_, name) => (name === '__esModule' ? false : class {}) });",
    }));
  },
};

await mkdir(out, { recursive: true });
await build({
  entryPoints: [here("src/page.tsx")],
  outfile: `${out}/page.js`,
  bundle: true,
  minify: true,
  format: "iife",
  jsx: "automatic",
  target: "chrome110",
  define: { "process.env.NODE_ENV": '"production"', "process.env": "{}", global: "window" },
  loader: { ".svg": "dataurl", ".png": "dataurl", ".woff": "dataurl", ".woff2": "dataurl", ".ttf": "dataurl" },
  plugins: [unused],
  logLevel: "warning",
});
// Icons and the font are fetched from where Grafana's server has them.
const copy = (from, to) => cp(here(`node_modules/${from}`), `${out}/public/${to}`, { recursive: true });
await copy("@grafana/ui/dist/public", "build");
for (const weight of ["Regular", "Medium"]) {
  await copy(`inter-ui/web/Inter-${weight}.woff2`, `fonts/inter/Inter-${weight}.woff2`);
}
await cp(here("src/page.html"), `${out}/index.html`);
