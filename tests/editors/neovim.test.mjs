// Neovim, set up by the README's lines, in a terminal.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ChatServer } from "./support/chat_server.mjs";
import { loop, Neovim } from "./support/neovim.mjs";
import { demoWorkspace, environment, inSystem, root, temporary } from "./support/places.mjs";
import { readmeLines } from "./support/readme.mjs";
import { until } from "./support/wait.mjs";

const home = temporary("neovim");
const folder = demoWorkspace(home);
const file = join(folder, "inventory.py");
const chat = new ChatServer((question) => {
  if (/A review says/.test(question)) return ["The call is never closed."];
  if (/documentation comment/.test(question)) return ['{"comment": "The price', ' of some pieces."}'];
  if (/as follows[^]*Take off a tenth/.test(question))
    return ["Here it is:\n```python\ndef price(one, count):\n    return one * count * 0.9\n```\n"];
  if (/as follows/.test(question)) return ["I would rather not."];
  return ["It adds up ", "the worth of all items."];
});
let nvim;

before(async () => {
  const surroundings = environment(home, "neovim");
  writeFileSync(join(home, ".config", "cambium", "models.json"),
    JSON.stringify({ roles: { general: { url: await chat.start(), model: "helper" } } }));
  nvim = new Neovim(home, surroundings, file, `${readmeLines("Neovim", "lua")}
vim.o.statusline = "%f %m %= %{v:lua.require'cambium'.statusline()}"
`);
  await nvim.waitFor(/Stock of a small shop/);
});
after(() => {
  nvim.stop();
  chat.stop();
});

test("ghost text appears while one types, and Tab accepts it", async () => {
  await nvim.suggestion();
  nvim.keep("neovim-ghost-text");
  const shown = loop(nvim.screen().replace(/^ *\d+ /gm, ""));
  nvim.keys("Tab");
  const [, first, body] = loop(await nvim.saved());
  assert.match(first, /\S/);
  assert.match(body, /\S/, "the body of the loop is suggested as well");
  assert.ok(shown[1].startsWith(first.trimEnd()));
});

test("Alt+Right accepts a word, Alt+End the rest of the line, Alt+N a syntax node", async () => {
  await nvim.suggestion();
  nvim.keys("M-Right");
  const [, word, none] = loop(await nvim.saved());
  assert.match(word, /^\w+$/);
  assert.equal(none, "");
  await nvim.suggestion();
  nvim.keys("M-End");
  const [, line, empty] = loop(await nvim.saved());
  assert.ok(line.startsWith(word) && line.length > word.length);
  assert.equal(empty, "");
  await nvim.suggestion();
  nvim.keys("M-n");
  await until("the node is taken", () => /\[\+\]/.test(nvim.screen()));
  // The colour changes within the line, after a word; newer Neovims colour `self` as well.
  const colour = /for.*self\S*?\w(\x1b\[\d+m)+\W/;
  await until("what is left is ghost text", () => colour.test(nvim.screen(true)));
  const [, node] = loop(await nvim.saved());
  assert.ok(line.startsWith(node) && node.length > word.length && node.length < line.length, node);
});

test("typing into a suggestion keeps what is left of it; Ctrl+] dismisses it", async () => {
  await nvim.suggestion();
  nvim.type("s");
  await nvim.waitFor(/for item in s\w+/, "the rest");
  nvim.keys("e", "C-]"); // at once: Neovim tells the plugin of the letter after the key that dismisses
  await nvim.waitFor(/for item in se *\n/, "no ghost text");
  assert.equal(loop(await nvim.saved())[1], "se");
});

test("what does not parse is a diagnostic, and its code action mends the file", async () => {
  const broken = join(folder, "greet.lua");
  writeFileSync(broken, "local function greet(name)\n  print(\"hello \" .. name\nend\n\nreturn greet\n");
  nvim.command(`e ${broken}`);
  await nvim.waitFor(/print\("hello " \.\. name +\S+.*\)/, "the diagnostic");
  nvim.keep("neovim-diagnostic");
  nvim.command("lua vim.diagnostic.goto_next()");
  nvim.command("Cambium why");
  await nvim.waitFor(/The call is never closed\.\n[^]*helper/);
  assert.match(chat.asked.at(-1).messages.at(-1).content, /A review says of line 2: /);
  nvim.command("q");
  nvim.command("lua vim.lsp.buf.code_action()");
  const menu = await nvim.waitFor(/\d: Insert/);
  nvim.type(/(\d): Insert/.exec(menu)[1]);
  nvim.keys("Enter");
  assert.match(await nvim.saved(broken), /print\("hello " \.\. name\)\nend/);
  nvim.command(`e ${file}`);
});

test(":Cambium completes its words, and the status line says what the server does", async () => {
  nvim.keys("Escape");
  nvim.type(":Cambium sta");
  nvim.keys("Tab");
  await nvim.waitFor(/Cambium sta(ts|tus)/);
  nvim.keys("Escape", "Escape");
  nvim.command("Cambium");
  await nvim.waitFor(/Cambium: (ready · Cambium Coder \d+M [^·\n]*·|busy · Cambium Coder$)/m); // the name once
  assert.match(nvim.screen(), /inventory\.py .* cambium$/m);
  for (const [words, said] of [["stats", /suggestions: \d+ shown/], ["review", /Cambium: .* in this file/],
    ["nonsense", /there is no "nonsense", but change, /], ["unload", /loads again at the next request/]]) {
    nvim.command(`Cambium ${words}`);
    await nvim.waitFor(said);
    if (/Press ENTER/.test(nvim.screen())) nvim.keys("Enter");
  }
});

test(":Cambium explain asks the user's general model about the lines, and shows what it says", async () => {
  nvim.command("43,45Cambium explain");
  await nvim.waitFor(/It adds up the worth of all items\.\n[^]*helper/);
  nvim.keep("neovim-explanation");
  assert.match(chat.asked.at(-1).messages.at(-1).content, /^inventory\.py, lines 43 to 45:\n```python\n {8}total = 0\n/);
  nvim.command("q");
});

test("a server that is killed comes back, and suggests", async () => {
  await nvim.killServer();
  await nvim.suggestion();
});

test("the help has no broken tag, and :checkhealth finds the server", async () => {
  const [program, ...words] = inSystem(["nvim", "--headless", "--clean", "-c",
    `helptags ${join(root, "editors/neovim/doc")}`, "-c", "q"]);
  execFileSync(program, words, {
    env: environment(home, "neovim-help"), stdio: "pipe",
  });
  nvim.command("checkhealth cambium");
  await nvim.waitFor(/OK.*the server is running/);
});

test(":Cambium comment and change write into the file; what is no code changes nothing", async () => {
  const priced = join(folder, "price.py");
  writeFileSync(priced, "def price(one, count):\n    return one * count\n");
  nvim.command(`e ${priced}`);
  await nvim.waitFor(/return one \* count/);
  nvim.type(":2Cambium change Say it in verse.");
  nvim.keys("Enter");
  await nvim.waitFor(/without a block of code; nothing was changed/);
  nvim.keys("Enter", "Escape");
  nvim.type(":2Cambium change Take off a tenth.");
  nvim.keys("Enter");
  await nvim.waitFor(/count \* 0\.9/);
  nvim.keys("Enter");
  assert.match(await nvim.saved(priced), /^def price\(one, count\):\n {4}return one \* count \* 0\.9\n$/);
  nvim.keys("Enter", "Escape");
  nvim.type(":1");
  nvim.keys("Enter");
  nvim.type(":Cambium comment");
  nvim.keys("Enter");
  await nvim.waitFor(/The price of some pieces\./);
  nvim.keys("Enter");
  assert.match(await nvim.saved(priced), /^def price\(one, count\):\n {4}"""The price of some pieces\."""\n {4}return /);
  assert.equal(chat.asked.at(-1).response_format.type, "json_schema");
});

test(":Cambium trust asks before a workspace's rules count", async () => {
  mkdirSync(join(folder, ".cambium"), { recursive: true });
  writeFileSync(join(folder, ".cambium", "review.md"), "No floats for money.\n");
  nvim.keys("Enter", "Escape");
  nvim.type(":Cambium trust");
  nvim.keys("Enter");
  // Neovim 0.9 asks itself whether the file is allowed; 0.12 wants it to be looked at first.
  const asked = await nvim.waitFor(/review\.md[^]*(\W?Y\W?es|\(v\)iew.*\(d\)eny)/, "the question");
  if (/\(v\)iew/.test(asked) && !/\(a\)llow/.test(asked)) {
    nvim.type("v");
    await nvim.waitFor(/:Cambium trust again/);
    nvim.keys("Enter");
    await nvim.waitFor(/No floats for money/);
    nvim.command("trust");
    await nvim.waitFor(/trust database/);
    nvim.command("q");
    nvim.command("Cambium trust");
  } else nvim.type(/\(a\)llow/.test(asked) ? "a" : "y");
  await nvim.waitFor(/the rules of this workspace count/);
});
