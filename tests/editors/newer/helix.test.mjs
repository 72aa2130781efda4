// Helix, set up by the README's lines, in a terminal.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { demoWorkspace, environment, temporary } from "../support/places.mjs";
import { readmeLines } from "../support/readme.mjs";
import { Terminal } from "../support/terminal.mjs";
import { until } from "../support/wait.mjs";

const home = temporary("helix");
const folder = demoWorkspace(home);
const file = join(folder, "inventory.py");
const original = readFileSync(file, "utf8");
let helix;

/** Runs a command, without its colon, in normal mode: an Escape that a colon follows at once would be Alt. */
async function command(text) {
  if (!/^ NOR /m.test(helix.screen())) {
    helix.keys("Escape");
    await helix.waitFor(/^ NOR /m, "normal mode");
  }
  helix.type(`:${text}`);
  helix.keys("Enter");
}

async function saved(path) {
  const before = readFileSync(path, "utf8");
  await command("write");
  return until("the file is written", () => {
    const now = readFileSync(path, "utf8");
    return now !== before && now;
  });
}

before(async () => {
  mkdirSync(join(home, ".config", "helix"), { recursive: true });
  writeFileSync(join(home, ".config", "helix", "languages.toml"), readmeLines("Helix", "toml"));
  helix = new Terminal(home, environment(home, "helix"), folder, ["hx", file]);
  await helix.waitFor(/Stock of a small shop/);
});
after(() => helix.stop());

test("completion offers what the model says, and the file holds it", async () => {
  await command("44");
  helix.type("A");
  helix.keys("C-x");
  const [, offered] = /(\S+) text *$/m.exec(await helix.waitFor(/\S text *$/m, "the menu"));
  helix.keep("helix-completion");
  helix.keys("Tab", "Enter");
  await helix.waitFor(/for item in \S/, "the completion");
  assert.match(offered, /\w/);
  assert.ok((await saved(file)).includes(`for item in ${offered}\n        return total\n`));
});

test("what does not parse is a diagnostic, and its code action mends the file", async () => {
  const broken = join(folder, "greet.sh");
  writeFileSync(broken, 'greet() {\n  echo "hello $1"\n\ngreet you\n');
  await command(`open ${broken}`);
  await helix.waitFor(/● +4 +greet you/, "the diagnostic's line");
  helix.type("]d");
  await helix.waitFor(/Expected '}' after 'you'/, "the diagnostic");
  helix.keep("helix-diagnostic");
  helix.type(" a");
  await helix.waitFor(/Insert '}'/, "the actions");
  helix.keys("Enter");
  assert.match(await saved(broken), /greet you\s*}/);
});

test("the menu opens by itself while one types", async () => {
  writeFileSync(file, original);
  await command(`open ${file}`);
  await command("reload");
  await command("44");
  await helix.waitFor(/for item in *\n/, "the line without what was accepted");
  helix.type("Ase");
  await helix.waitFor(/self\S* text *$/m, "the menu");
  helix.keys("Tab", "Enter");
  await helix.waitFor(/for item in self\S/, "the completion");
  assert.match(await saved(file), /for item in self\S+\n {8}return total\n/);
});
