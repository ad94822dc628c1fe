// The App loads a plugin's JavaScript as one classic script, so everything of src/ becomes one file.
// React and the App's own functions are not in it: src/host.ts takes them from the page.
import { build } from "esbuild";
import { readdirSync } from "node:fs";

const shared = { bundle: true, target: "es2022", legalComments: "none", logLevel: "warning" };

if (process.argv.includes("--tests")) {
  const entryPoints = readdirSync("test").map((name) => `test/${name}`);
  const outExtension = { ".js": ".test.mjs" };
  await build({ ...shared, entryPoints, outExtension, outdir: ".test", platform: "node", format: "esm" });
} else {
  const outfile = process.env.BUNDLE ?? "dist/index.umd.js";
  await build({ ...shared, entryPoints: ["src/index.ts"], outfile, format: "iife", minify: true });
}
