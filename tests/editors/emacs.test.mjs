// Emacs with eglot, set up by the README's lines, in a terminal.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { binary, demoWorkspace, environment, temporary } from "./support/places.mjs";
import { readmeLines } from "./support/readme.mjs";
import { Terminal } from "./support/terminal.mjs";
import { until } from "./support/wait.mjs";

const home = temporary("emacs");
const folder = demoWorkspace(home);
let emacs;

function command(name) {
  emacs.keys("M-x");
  emacs.type(name);
  emacs.keys("Enter");
}

async function open(file) {
  emacs.keys("C-x", "C-f", "C-a", "C-k");
  emacs.type(file);
  emacs.keys("Enter");
  await emacs.waitFor(new RegExp(`  ${file.split("/").pop().replace(".", "\\.")} +(Top|All)`), "the file");
}

function saved(file) {
  const before = readFileSync(file, "utf8");
  emacs.keys("C-x", "C-s");
  return until("the file is written", () => {
    const now = readFileSync(file, "utf8");
    return now !== before && now;
  });
}

before(async () => {
  mkdirSync(join(home, ".emacs.d"));
  writeFileSync(join(home, ".emacs.d", "init.el"), `(setq inhibit-startup-screen t make-backup-files nil create-lockfiles nil
      native-comp-async-report-warnings-errors nil)
${readmeLines("Emacs", "elisp")}`);
  emacs = new Terminal(home, environment(home, "emacs", { PATH: `${join(binary, "..")}:${process.env.PATH}` }), folder,
    ["emacs", "-nw"]);
  await emacs.waitFor(/scratch/);
});
after(() => emacs.stop());

test("completion offers what the model says, and the file holds it", async () => {
  const file = join(folder, "inventory.py");
  await open(file);
  await emacs.waitFor(/\[eglot:shop\]/, "eglot's lighter");
  emacs.keys("M-g", "g");
  emacs.type("44");
  emacs.keys("Enter", "C-e");
  command("completion-at-point");
  await emacs.waitFor(/for item in \S.*\n +return total/, "the completion");
  emacs.keep("emacs-completion");
  assert.match(await saved(file), /for item in \S.*\n {8}return total/);
});

test("what does not parse is a diagnostic, and its quick fix mends the file", async () => {
  const file = join(folder, "greet.sh");
  writeFileSync(file, 'greet() {\n  echo "hello $1"\n\ngreet you\n');
  await open(file);
  await emacs.waitFor(/\[eglot:shop\]/, "eglot's lighter");
  command("flymake-start"); // as any command would, after a while
  await emacs.waitFor(/Flymake\[1 0\]/, "one error");
  command("flymake-goto-next-error");
  await emacs.waitFor(/Expected '}' after 'you'/, "the diagnostic");
  emacs.keep("emacs-diagnostic");
  command("eglot-code-actions");
  await emacs.waitFor(/Pick an action/, "the actions");
  emacs.type("Insert");
  emacs.keys("Tab", "Enter");
  await emacs.waitFor(/Flymake\[0 0\]/, "no error");
  assert.match(await saved(file), /greet you\s*}/);
});
