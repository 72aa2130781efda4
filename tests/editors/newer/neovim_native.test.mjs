// Neovim 0.12's own language client and ghost text, set up by the README's lines.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { loop, Neovim } from "../support/neovim.mjs";
import { demoWorkspace, environment, temporary } from "../support/places.mjs";
import { readmeLines } from "../support/readme.mjs";
import { until } from "../support/wait.mjs";

const native = readmeLines("Neovim 0.12", "lua");
let nvim;

async function start(name, lines) {
  const home = temporary(name);
  const file = join(demoWorkspace(home), "inventory.py");
  nvim = new Neovim(home, environment(home, name), file, lines);
  await nvim.waitFor(/Stock of a small shop/);
}

/** Tab puts into the file what is shown as ghost text, and that is shown once. */
async function accepts() {
  await nvim.suggestion();
  const [, shown] = loop(nvim.screen().replace(/^ *\d+ /gm, ""));
  nvim.keys("Tab");
  // Neovim accepts it later, if insert mode still lasts then. Its lines have numbers from then on.
  await nvim.waitFor(/4[6-9] +return total/, "the accepted lines");
  const [, first, body] = loop(await nvim.saved());
  assert.equal(shown.trimEnd(), first);
  assert.match(body, /\S/, "the body of the loop is suggested as well");
}

/** How many servers the current file has. */
async function clients(count) {
  nvim.command("lua print(#vim.lsp.get_clients({ bufnr = 0 }), 'clients')");
  await nvim.waitFor(new RegExp(`^${count} clients`, "m"));
}

before(() => start("neovim-native", native));
after(() => nvim.stop());

test("ghost text appears while one types, and Tab accepts it", async () => {
  await accepts();
});

test("without a suggestion Tab is a tab", async () => {
  nvim.command("$");
  nvim.type("o");
  nvim.keys("C-u", "Tab");
  nvim.type("pass");
  assert.match(await nvim.saved(), /\n {4}pass\n$/);
});

test("what does not parse is a diagnostic that Neovim asks for, and its code action mends the file", async () => {
  const broken = join(nvim.file, "..", "greet.lua");
  writeFileSync(broken, "local function greet(name)\n  print(\"hello \" .. name\nend\n\nreturn greet\n");
  nvim.command(`e ${broken}`);
  await nvim.waitFor(/print\("hello " \.\. name +\S+.*\)/, "the diagnostic");
  nvim.keep("neovim-native-diagnostic");
  // The namespace of what a server pushes ends with the client's number.
  nvim.command("lua print(vim.diagnostic.get_namespace(vim.diagnostic.get(0)[1].namespace).name)");
  await nvim.waitFor(/nvim\.lsp\.cambium\.\d+\.cambium/);
  nvim.type("]dgra"); // Neovim's own keys: the next diagnostic, code actions
  const menu = await nvim.waitFor(/\d: Insert/);
  nvim.type(/(\d): Insert/.exec(menu)[1]);
  nvim.keys("Enter");
  assert.match(await nvim.saved(broken), /print\("hello " \.\. name\)\nend/);
});

test(":Cambium talks to the server that Neovim started", async () => {
  for (const [words, answer] of [["status", /Cambium: ready/], ["models", /Cambium Coder/],
    ["stats", /1 accepted/], ["review", /(nothing to complain about|1 finding) in/]]) {
    nvim.command(`Cambium ${words}`);
    await nvim.waitFor(answer);
  }
  nvim.command("checkhealth cambium");
  await nvim.waitFor(/OK.*the server is running/);
  nvim.command("bwipe");
});

test(":Cambium toggle turns Neovim's ghost text off and on", async () => {
  nvim.command("Cambium toggle");
  await nvim.waitFor(/suggestions are off/);
  nvim.command("lua print(vim.lsp.inline_completion.is_enabled({ client_id = vim.lsp.get_clients()[1].id }))");
  await nvim.waitFor(/^false/m);
  nvim.command("Cambium toggle");
  await nvim.waitFor(/suggestions are on/);
  await accepts();
});

test(":Cambium restart starts another server, also after one that was killed", async () => {
  nvim.command("Cambium restart");
  await accepts();
  await clients(1);
  await nvim.killServer(async () => {
    await nvim.waitFor(/Client cambium quit/);
    nvim.command("Cambium restart");
  });
  await accepts();
  await clients(1);
});

test("setup() beside it draws no second ghost text and starts no second server", async () => {
  nvim.stop();
  await start("neovim-both", `${native}require('cambium').setup()
function _G.Drawn()
  local function drawn(namespace)
    return #vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace(namespace), 0, -1, {})
  end
  return ("Neovim's: %d, the plugin's: %d"):format(drawn('nvim.lsp.inline_completion'), drawn('cambium'))
end
vim.o.statusline = '%f %{v:lua.Drawn()} %l'
vim.keymap.set('i', '<F2>', '<Cmd>redrawstatus<CR>')
`);
  await accepts(); // with the model loaded both would have time to draw
  await nvim.suggestion();
  const drawn = await until("Neovim's own ghost text", () => {
    nvim.keys("F2");
    return /Neovim's: 1, the plugin's: (\d)/.exec(nvim.screen());
  });
  assert.equal(drawn[1], "0");
  await clients(1);
  // A file of another repository has another server.
  nvim.command(`e ${join(demoWorkspace(temporary("neovim-other")), "inventory.py")}`);
  await nvim.waitFor(/inventory\.py.* 1$/m);
  nvim.command("lua vim.wait(60000, function() return #vim.lsp.get_clients() == 2 end)");
  await clients(1);
});

test("nothing that the plugin calls is deprecated", async () => {
  nvim.stop();
  await start("neovim-setup", readmeLines("Neovim", "lua"));
  await accepts();
  nvim.command("Cambium log");
  await nvim.waitFor(/lsp\.log/);
  nvim.command("tabclose");
  nvim.command("checkhealth vim.deprecated");
  await nvim.waitFor(/OK No deprecated functions detected/);
});
