// Whether a workspace is trusted is asked by VS Code in its own dialog, and what is answered there counts: the
// rules of a workspace that is not trusted are shown to no model, and its settings start no program.
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { ChatServer } from "./support/chat_server.mjs";
import { demoWorkspace, temporary } from "./support/places.mjs";
import { scenarios, VSCode } from "./support/vscode.mjs";

const home = temporary("vscode-trust");
const code = new VSCode(home);
const scenario = scenarios(code);
const chat = new ChatServer(['{"findings": []}']);
const rules = "No floats for money.";
const ran = join(home, "ran"); // by a program that a workspace names

function workspace(name) {
  const folder = demoWorkspace(join(home, name));
  const program = join(folder, "cambium");
  writeFileSync(program, `#!/bin/sh\ntouch '${ran}'\n`);
  chmodSync(program, 0o755);
  for (const [file, text] of [[".cambium/review.md", rules], [".vscode/settings.json", JSON.stringify({
    "cambium.path": program, "cambium.arguments": ["--model", program],
  })]]) {
    mkdirSync(join(folder, file, ".."), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  return folder;
}
const stranger = workspace("stranger");
const friend = workspace("friend");

const ready = () => code.waitForStatus(({ icon }) => /codicon-sparkle/.test(icon), "ready");
const dialog = (button) => code.page.locator(".monaco-dialog-box .monaco-button", { hasText: button });
const restricted = () => code.page.locator(".statusbar-item", { hasText: "Restricted Mode" });

/** Reviews a file; returns what the model was shown, and the notification that says how it went. */
async function review() {
  const before = chat.asked.length;
  await code.open("inventory.py", 1, 1);
  await code.command("Cambium: Review This File");
  const toast = code.page.locator(".notification-toast", { hasText: /Cambium found/ });
  await toast.waitFor();
  const asked = chat.asked.slice(before);
  assert.ok(asked.length > 0, "the model was asked");
  return { shown: JSON.stringify(asked), toast };
}

before(async () => {
  code.install();
  mkdirSync(join(home, ".config", "cambium"), { recursive: true });
  writeFileSync(join(home, ".config", "cambium", "models.json"),
    JSON.stringify({ roles: { reasoning: { url: await chat.start(), model: "reviewer" } } }));
  await code.start(stranger, { trust: false });
});
after(async () => {
  await code.stop();
  chat.stop();
});

scenario("in a folder whose authors are not trusted its rules are shown to no model", async () => {
  await dialog("No, I don't trust the authors").waitFor();
  await code.screenshot("vscode-trust-dialog");
  await dialog("No, I don't trust the authors").click();
  await restricted().waitFor();
  await ready();
  const { shown, toast } = await review();
  assert.ok(!shown.includes(rules));
  assert.match(await toast.innerText(), /review\.md was left out: this workspace is not trusted/);
  await code.screenshot("vscode-trust-restricted");
});

scenario("trusted from there on, by a click, its rules count, without another server", async () => {
  const servers = code.servers();
  assert.equal(servers.length, 1);
  await code.page.locator(".notification-toast .monaco-button", { hasText: "Manage Workspace Trust" }).click();
  await code.page.locator(".workspace-trust-editor .monaco-button", { hasText: /^Trust$/ }).click();
  await restricted().waitFor({ state: "detached" });
  await code.screenshot("vscode-trust-granted");
  await code.page.locator(".modal-editor-action-container .codicon-close").click();
  await code.page.locator(".workspace-trust-editor").waitFor({ state: "detached" });
  await code.command("Notifications: Clear All Notifications");
  const { shown, toast } = await review();
  assert.ok(shown.includes(rules));
  assert.doesNotMatch(await toast.innerText(), /left out/);
  assert.deepEqual(code.servers(), servers);
});

scenario("whoever trusts the authors from the start has the rules of the first review", async () => {
  await code.openFolder(friend);
  await dialog("Yes, I trust the authors").click();
  await ready();
  const { shown } = await review();
  assert.ok(shown.includes(rules));
  assert.equal(await restricted().count(), 0);
});

scenario("a program that a workspace names never ran, trusted or not", () => {
  assert.ok(!existsSync(ran));
});
