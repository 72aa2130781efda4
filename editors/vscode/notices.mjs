// What the package carries of others, with their licences: THIRD_PARTY_NOTICES.txt on standard output.
//
//   node notices.mjs SYSTEM_PACKAGE...
//
// npm packages are those that esbuild bundled (`npm run build` lists them) and the grammars that the server is
// compiled from; system packages are named by the caller. One whose licence is not found is an error.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const grammars = join(here, "../../syntax/grammars");

/** Folders of the npm packages that esbuild took something from. */
function bundled() {
  const folders = new Set();
  const lists = join(here, "node_modules/.bundled");
  for (const name of readdirSync(lists)) {
    for (const input of Object.keys(JSON.parse(readFileSync(join(lists, name), "utf8")).inputs)) {
      const found = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input);
      if (found) folders.add(join(here, found[0]));
    }
  }
  return [...folders];
}

function compiled() {
  const { dependencies } = JSON.parse(readFileSync(join(grammars, "package.json"), "utf8"));
  return Object.keys(dependencies).map((name) => join(grammars, "node_modules", name));
}

function ofNpm(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((n) => /^(licen[sc]e|copying)/i.test(n));
  if (!file && !license) throw new Error(`${name}: neither a licence file nor a licence field`);
  const text = file ? readFileSync(join(folder, file), "utf8") : `Licence, as its package.json has it: ${license}`;
  return { name: `${name} ${version}`, text };
}

function ofSystem(name) {
  const file = `/usr/share/doc/${name}/copyright`;
  if (!existsSync(file)) throw new Error(`${name}: no ${file}`);
  return { name, text: readFileSync(file, "utf8") };
}

try {
  const parts = [...bundled(), ...compiled()].map(ofNpm).concat(process.argv.slice(2).map(ofSystem));
  parts.sort((a, b) => (a.name < b.name ? -1 : 1));
  console.log("Cambium contains the software below, under the licences that follow each name.");
  for (const { name, text } of parts) console.log(`\n${"=".repeat(80)}\n${name}\n\n${text.trim()}`);
} catch (error) {
  console.error(`notices: ${error.message}`);
  process.exit(1);
}
