// The extension's own logic, without an editor: where the server is looked for, which settings become
// flags, and that every string shown has its translation.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { buildSync } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), "cambium-vscode-"));

async function load(name) {
  const outfile = join(folder, `${name.split("/").pop()}.mjs`);
  buildSync({ entryPoints: [join(root, "src", `${name}.ts`)], outfile, format: "esm", platform: "node", bundle: true, logLevel: "error",
    alias: { vscode: join(root, "test", "vscode.mjs") } });
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

test("the server is not sent what it does not take from a client", async () => {
  const { forServer } = await load("settings");
  const completion = { enabled: true };
  assert.deepEqual(forServer({ path: "/x", model: "/m", threads: 0, trace: { server: "off" }, completion }), { completion });
  assert.equal(forServer(null), null);
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

const json = (...path) => JSON.parse(readFileSync(join(root, ...path), "utf8"));

test("every string has a Chinese twin, and no twin is left over", async () => {
  const sources = readdirSync(join(root, "src")).map((f) => readFileSync(join(root, "src", f), "utf8")).join("");
  const shown = new Set([...sources.matchAll(/(?:l10n\.|\b)t\(\s*"([^"]+)"/g)].map((m) => m[1]));
  for (const sentence of (await load("words")).sentences) shown.add(sentence);
  assert.deepEqual([...shown].sort(), Object.keys(json("l10n", "bundle.l10n.zh-cn.json")).sort());
  const nls = (name) => Object.keys(json(name)).sort();
  assert.deepEqual(nls("package.nls.json"), nls("package.nls.zh-cn.json"));
  const used = [...readFileSync(join(root, "package.json"), "utf8").matchAll(/"%([^%]+)%"/g)].map((m) => m[1]);
  assert.deepEqual([...new Set(used)].sort(), nls("package.nls.json"));
});

test("what is said in Chinese is Chinese, with the places and the code that the English has", () => {
  const english = json("package.nls.json");
  const pairs = [...Object.entries(json("l10n", "bundle.l10n.zh-cn.json")),
    ...Object.entries(json("package.nls.zh-cn.json")).map(([key, twin]) => [english[key], twin])];
  const parts = (text) => [...text.matchAll(/\{\d\}|`[^`]+`|\(command:[^)]+\)|\n/g)].map(([part]) => part).sort();
  for (const [text, twin] of pairs) {
    assert.deepEqual(parts(twin), parts(text), twin);
    if (/^media\//.test(text)) assert.ok(readFileSync(join(root, twin), "utf8") !== readFileSync(join(root, text), "utf8"), twin);
    else if (text !== "Cambium") assert.match(twin, /\p{Script=Han}/u, `"${text}" is not translated`);
    assert.doesNotMatch(twin, /\p{Script=Han}[,:;()]|[,:;()]\p{Script=Han}/u, `a Western mark in "${twin}"`);
  }
});

test("what the server says is told in the editor's language, piece by piece", async () => {
  const { inWords, sentences, translated } = await load("words");
  const server = ["syntax/problems.cpp", "lsp/assist/likelihood_findings.cpp", "lsp/handlers/review_fixes.cpp",
    "lsp/handlers/write.cpp", "lsp/status.cpp", "lsp/assist/router.cpp", "lsp/assist/team_rules.cpp",
    "lsp/assist/code_writing.cpp"]
    .map((file) => readFileSync(join(root, "..", "..", file), "utf8").replace(/"\s*\n\s*"/g, "").replaceAll('\\"', '"')).join("");
  for (const sentence of sentences)
    for (const piece of sentence.split(/ ?\{\d\} ?/).filter((each) => each.length > 2))
      assert.ok(server.includes(piece), `the server does not say "${piece}"`);
  for (const said of ["Dismiss: ')' closes nothing: no bracket before it is open.", "Change 'total'…", "Expected '}' after '{'.",
    "Explain the selection", "This may be the wrong variable: the code around it fits 'a' better than 'b'.", "its own words"])
    assert.equal(translated(said), said);
  globalThis.bundle = json("l10n", "bundle.l10n.zh-cn.json");
  assert.equal(translated("Dismiss: ')' closes nothing: no bracket before it is open."), "忽略：')' 没有与之对应的左括号。");
  assert.equal(translated("This may be the wrong variable: the code around it fits 'a' better than 'b'."),
    "这里可能用错了变量：从上下文看，'a' 比 'b' 更合适。");
  assert.equal(translated("Explain the selection"), "解释 所选内容");
  assert.equal(translated("the model answered without a block of code; nothing was changed"), "模型的回答中没有代码块；未作任何更改");
  assert.equal(translated("its own words"), "its own words");
  const message = "'x' is never closed.";
  const findings = [{ source: "cambium", code: "syntax/unclosed", message }, { source: "other", message },
    { source: "cambium", code: "reasoning/finding", message }];
  assert.deepEqual(inWords(findings).map((each) => each.message), ["'x' 没有闭合。", message, message]);
  delete globalThis.bundle;
});

test("a review says how much it found; one that could look at nothing has not found nothing", async () => {
  const { said } = await load("review");
  assert.equal(said({ findings: 0, files: 1, notes: [] }), "Cambium found nothing to complain about.");
  assert.equal(said({ findings: 1, files: 1, notes: [] }), "Cambium found 1 problem.");
  assert.equal(said({ findings: 12, files: 3, notes: ["a.py: too long"] }), "Cambium found 12 problems. a.py: too long");
  assert.equal(said({ findings: 0, files: 0, notes: ["git diff failed"] }), "Cambium: git diff failed");
  assert.equal(said({ findings: 0, files: 0, notes: [] }), "Cambium found nothing to complain about.");
});

test("every command of the manifest is registered, and only those", () => {
  const { contributes } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const menu = readFileSync(join(root, "src", "menu.ts"), "utf8");
  const registered = [...menu.matchAll(/^ {4}"(cambium\.\w+)": (?:async )?\(.*?\) =>/gm)].map((m) => m[1]);
  assert.deepEqual(registered.sort(), contributes.commands.map((c) => c.command).sort());
});

test("the package without a server is small", () => {
  const file = join(folder, "bare.vsix");
  execFileSync(join(root, "node_modules", ".bin", "vsce"),
    ["package", "--no-dependencies", "--skip-license", "--allow-missing-repository", "--out", file],
    { cwd: root, stdio: "ignore" });
  assert.ok(statSync(file).size <= 500_000, `${statSync(file).size} bytes`);
});

test("what is read while the editor starts is small; the language client is read later", () => {
  execFileSync("npm", ["run", "-s", "build"], { cwd: root, stdio: "ignore" });
  assert.ok(statSync(join(root, "dist", "extension.js")).size < 32_000);
  assert.ok(statSync(join(root, "dist", "client.js")).size > 100_000);
});

test("how far a suggestion was taken is read from the document's changes", async () => {
  const { taken, rest } = await load("progress");
  const shown = { item: 1, text: "self.items:\n  go()", start: 4 };
  const cases = [
    [{ offset: 4, text: "self" }, "for self", { kind: "accepted", length: 4 }],
    [{ offset: 4, text: "s" }, "for s", { kind: "typed", length: 1 }],
    [{ offset: 8, text: ".items:\n" }, "for self.items:\n", { kind: "accepted", length: 12 }],
    [{ offset: 4, text: "all" }, "for all", { kind: "left" }],
    [{ offset: 0, text: "x = 1;" }, "x = 1;for ", { kind: "left" }],
    [{ offset: 4, text: "" }, "for ", { kind: "left" }],
    [{ offset: 5, text: "elf" }, "for Self", { kind: "left" }],
    [{ offset: 4, text: `${shown.text}!` }, `for ${shown.text}!`, { kind: "left" }],
  ];
  for (const [change, text, expected] of cases) assert.deepEqual(taken(shown, change, text), expected, text);
  assert.equal(rest(shown, 8, "for self"), ".items:\n  go()");
  assert.equal(rest(shown, 4, "for "), shown.text);
  assert.equal(rest(shown, 8, "for sell"), undefined);
  assert.equal(rest(shown, 3, "for "), undefined);
  assert.equal(rest(shown, 4 + shown.text.length, `for ${shown.text}`), undefined);
});

test("a bar is as long as its share of the longest, and what it says is text", async () => {
  const { page } = await load("statistics");
  const html = page("<a>", "so far", [{ title: "t", unit: " ms",
    bars: [{ label: "x", value: 5 }, { label: "y", value: 20 }, { label: "z", value: 0.02 }, { label: "?", value: undefined }] }]);
  assert.match(html, /width="25\.0%"/);
  assert.match(html, /width="100\.0%"/);
  assert.ok(!html.includes("<a>") && !html.includes("<script"));
  assert.match(html, /&#60;1 ms/, "a time is never shown as none");
  assert.match(html, /–<\/td>/, "what nobody knows yet is no 0");
  assert.ok(!page("t", "", [{ title: "t", unit: "", bars: [{ label: "x", value: 0 }] }]).includes("NaN"));
});

test("models used before are remembered, the newest first, each once", async () => {
  const { withRecent } = await load("models");
  assert.deepEqual(withRecent(["a", "b"], "b"), ["b", "a"]);
  assert.equal(withRecent(["1", "2", "3", "4", "5", "6", "7", "8"], "9").length, 8);
});

test("a conversation is told with what the model was shown; what failed is not part of it", async () => {
  const { Conversation } = await load("conversation");
  const talk = new Conversation();
  const part = { uri: "file:///a.py", version: 3, label: "a.py" };
  const answer = (text, asked) => ({ text, asked, stop: "end_of_text", timings: { route: { model: "m", reason: "why" } } });
  const first = talk.begin("What is it?", part);
  assert.deepEqual(talk.fresh(first), part);
  assert.deepEqual(talk.messages(first), [{ role: "user", content: "What is it?" }]);
  talk.answered(first, answer("A shop.", "a.py:\nWhat is it?"));
  assert.deepEqual([first.note, first.reason], ["m", "why"]);
  const failed = talk.begin("And?", part);
  failed.state = "failed";
  const stopped = talk.begin("Go on", { ...part, version: 4 });
  Object.assign(stopped, { state: "stopped", text: "It go" });
  const second = talk.begin("Is it good?", part);
  assert.deepEqual(talk.messages(second), [
    { role: "user", content: "a.py:\nWhat is it?" }, { role: "assistant", content: "A shop." },
    { role: "user", content: "Go on" }, { role: "assistant", content: "It go" },
    { role: "user", content: "Is it good?" },
  ]);
  assert.equal(talk.fresh(second), undefined, "the model has it already");
  assert.ok(talk.fresh(talk.begin("Now?", { ...part, version: 4 })), "of the stopped turn nobody knows what was shown");
  assert.ok(talk.fresh(talk.begin("There?", { ...part, range: { start: { line: 1, character: 0 }, end: { line: 2, character: 0 } } })));
  talk.clear();
  assert.deepEqual(talk.messages(talk.begin("Hello", undefined)), [{ role: "user", content: "Hello" }]);
});

test("a place is named by its lines; whole lines end where the next begins", async () => {
  const { labelOf } = await load("conversation");
  const range = (first, last, character) => ({ start: { line: first, character: 0 }, end: { line: last, character } });
  assert.equal(labelOf("a.py"), "a.py");
  assert.equal(labelOf("a.py", range(4, 4, 2)), "a.py:5");
  assert.equal(labelOf("a.py", range(4, 6, 0)), "a.py:5–6");
  assert.equal(labelOf("a.py", range(4, 6, 1)), "a.py:5–7");
  assert.equal(labelOf("a.py", range(4, 4, 0)), "a.py:5");
});

test("a block goes in under the cursor's indentation", async () => {
  const { indented } = await load("conversation");
  assert.equal(indented("  a:\n    b\n\n  c\n", "\t"), "a:\n\t  b\n\n\tc");
  assert.equal(indented("a\nb", ""), "a\nb");
});

test("what a model says is data: no markup, no image, no link but to the web", async () => {
  const { rendered } = await load("../webview/markdown");
  const html = rendered([
    "<img src=x onerror=alert(1)> <script>x</script> **bold**", "![seen](https://example.org/seen)",
    "[run](command:cambium.restart) [js](javascript:alert(1)) [page](https://example.org/)",
    "```python\nif a < b: pass  # <b>\n```", "```no\"such><i>\n<x>\n```",
  ].join("\n\n"));
  for (const forbidden of [/<img/, /<script/, /<i>/, /<x>/, /href="(?!https:\/\/example\.org\/)/, /<[^>]*src=/])
    assert.ok(!forbidden.test(html), `${forbidden} in ${html}`);
  assert.match(html, /<strong>bold<\/strong>/);
  assert.match(html, /<a href="https:\/\/example\.org\/">page<\/a>/);
  assert.match(html, /<pre data-language="Python"><code><span class="hljs-keyword">if<\/span> a &lt; b/);
});

test("every word of a page comes from the extension, so that it is translated", () => {
  for (const name of ["chat", "setup"]) {
    const page = readFileSync(join(root, "webview", `${name}.ts`), "utf8");
    const names = /type Strings = Record<([^]*?), string>/.exec(page)[1].match(/"(\w+)"/g).map((each) => each.slice(1, -1));
    const given = /const strings = \(\) => \(\{([^]*?)\n\}\);/.exec(readFileSync(join(root, "src", `${name}.ts`), "utf8"))[1];
    assert.deepEqual([...given.matchAll(/^ {2}(\w+):/gm)].map((m) => m[1]).sort(), names.sort());
  }
});

test("the command line is told of another models.json, as the server is", async () => {
  const { modelsFlags } = await load("settings");
  assert.deepEqual(modelsFlags(config({})), []);
  assert.deepEqual(modelsFlags(config({ arguments: ["--x", "--models", "/m.json", "--y"] })), ["--models", "/m.json"]);
  assert.deepEqual(modelsFlags(config({ arguments: ["--models=/m.json", "--y"] })), ["--models=/m.json"]);
});
