// Neovim 0.11 and later, whose own client starts the server while the plugin draws its ghost text, set up by the
// README's lines.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { loop, Neovim } from "../support/neovim.mjs";
import { demoWorkspace, environment, temporary } from "../support/places.mjs";
import { readmeLines } from "../support/readme.mjs";

const home = temporary("neovim-enabled");
const folder = demoWorkspace(home);
let nvim;

before(async () => {
  nvim = new Neovim(home, environment(home, "neovim-enabled"), join(folder, "inventory.py"),
    readmeLines("Neovim 0.11", "lua"));
  await nvim.waitFor(/Stock of a small shop/);
});
after(() => nvim.stop());

/** How many servers there are, and how many the current file has. */
async function clients(all, here) {
  nvim.command(`lua vim.wait(60000, function() return #vim.lsp.get_clients({ bufnr = 0 }) == ${here} end)`);
  nvim.command("lua print(#vim.lsp.get_clients(), 'servers,', #vim.lsp.get_clients({ bufnr = 0 }), 'here')");
  await nvim.waitFor(new RegExp(`^${all} servers, ${here} here`, "m"));
}

test("ghost text appears while one types; a part of it is accepted, and all of it", async () => {
  await nvim.suggestion();
  nvim.keys("M-Right");
  const [, word] = loop(await nvim.saved());
  assert.match(word, /^\w+$/);
  await nvim.suggestion();
  nvim.keys("Tab");
  const [, first, body] = loop(await nvim.saved());
  assert.ok(first.startsWith(word) && first.length > word.length);
  assert.match(body, /\S/, "the body of the loop is suggested as well");
});

test("Neovim's own client is the only one", async () => {
  nvim.command("lua print(vim.lsp.is_enabled('cambium'), 'enabled')");
  await nvim.waitFor(/^true enabled/m);
  await clients(1, 1);
});

test(":Cambium talks to it, and starts another after one that was killed", async () => {
  nvim.command("Cambium status");
  await nvim.waitFor(/Cambium: (ready|busy) · Cambium Coder/);
  nvim.command("checkhealth cambium");
  await nvim.waitFor(/OK.*the server is running/);
  nvim.command("bwipe");
  await nvim.killServer(async () => {
    await nvim.waitFor(/Client cambium quit/);
    nvim.command("Cambium restart");
  });
  await nvim.suggestion();
  await clients(1, 1);
});

test("nothing that the plugin calls is deprecated", async () => {
  nvim.command("checkhealth vim.deprecated");
  await nvim.waitFor(/OK No deprecated functions detected/);
});

test("a file of another repository has another server", async () => {
  nvim.command(`e! ${join(demoWorkspace(temporary("neovim-other")), "inventory.py")}`);
  await nvim.waitFor(/inventory\.py/);
  await clients(2, 1);
});
