// The extension's own logic, without an editor: where the server is looked for, which settings become
// flags, and that every string shown has its translation.
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { buildSync } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), "cambium-vscode-"));

async function load(name) {
  const outfile = join(folder, `${name}.mjs`);
  buildSync({ entryPoints: [join(root, "src", `${name}.ts`)], outfile, format: "esm", platform: "node" });
  return import(pathToFileURL(outfile).href);
}

function program(path) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "#!/bin/sh\n");
  chmodSync(path, 0o755);
  return path;
}

const config = (values) => ({ get: (key, fallback) => values[key] ?? fallback });

test("the packed program wins over PATH; a wrong setting is told, not replaced", async () => {
  const { findServer } = await load("find");
  const packed = program(join(folder, "extension", "bin", "cambium"));
  const onPath = program(join(folder, "path", "cambium"));
  const places = { setting: "", extensionFolder: join(folder, "extension"), windows: false,
    path: [join(folder, "nowhere"), join(folder, "path")].join(delimiter) };
  assert.deepEqual(findServer(places), { program: packed });
  assert.deepEqual(findServer({ ...places, extensionFolder: folder }), { program: onPath });
  assert.deepEqual(findServer({ ...places, setting: onPath }), { program: onPath });
  assert.equal(findServer({ ...places, setting: join(folder, "gone") }).problem, "setting");
  assert.equal(findServer({ ...places, setting: folder }).problem, "setting", "a folder is no program");
  assert.equal(findServer({ ...places, extensionFolder: folder, path: "" }).problem, "missing");
});

test("only settings that differ from the defaults become flags", async () => {
  const { serverArguments } = await load("settings");
  assert.deepEqual(serverArguments(config({})), ["lsp"]);
  assert.deepEqual(
    serverArguments(config({ model: "/m.gguf", device: "cuda:1", threads: 4, arguments: ["--x"] })),
    ["lsp", "--model", "/m.gguf", "--device", "cuda:1", "--threads", "4", "--x"]);
});

test("toggling a language twice changes nothing", async () => {
  const { toggled } = await load("settings");
  assert.deepEqual(toggled(["c"], "python"), ["c", "python"]);
  assert.deepEqual(toggled(toggled(["c"], "python"), "python"), ["c"]);
});

test("settings that start a program or load a file are machine-scoped", async () => {
  const { restartKeys } = await load("settings");
  const { contributes } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  for (const [key, { scope }] of Object.entries(contributes.configuration.properties))
    assert.equal(scope === "machine", restartKeys.includes(key.slice("cambium.".length)), key);
});

test("every string has a Chinese twin, and no twin is left over", () => {
  const sources = readdirSync(join(root, "src")).map((f) => readFileSync(join(root, "src", f), "utf8")).join("");
  const shown = new Set([...sources.matchAll(/l10n\.t\(\s*"([^"]+)"/g)].map((m) => m[1]));
  const twins = JSON.parse(readFileSync(join(root, "l10n", "bundle.l10n.zh-cn.json"), "utf8"));
  assert.deepEqual([...shown].sort(), Object.keys(twins).sort());
  const nls = (name) => Object.keys(JSON.parse(readFileSync(join(root, name), "utf8"))).sort();
  assert.deepEqual(nls("package.nls.json"), nls("package.nls.zh-cn.json"));
  const used = [...readFileSync(join(root, "package.json"), "utf8").matchAll(/"%([^%]+)%"/g)].map((m) => m[1]);
  assert.deepEqual([...new Set(used)].sort(), nls("package.nls.json"));
});

test("every command of the manifest is registered, and only those", () => {
  const { contributes } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const menu = readFileSync(join(root, "src", "menu.ts"), "utf8");
  const registered = [...menu.matchAll(/^ {4}"(cambium\.\w+)": \(\) =>/gm)].map((m) => m[1]);
  assert.deepEqual(registered.sort(), contributes.commands.map((c) => c.command).sort());
});
