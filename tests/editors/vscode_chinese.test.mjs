// VS Code with Chinese as its display language: what the extension says on the screen is Chinese.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { demoWorkspace, temporary } from "./support/places.mjs";
import { scenarios, VSCode } from "./support/vscode.mjs";

const home = temporary("vscode-chinese");
const folder = demoWorkspace(home);
writeFileSync(join(folder, "greet.lua"), "local function greet(name)\n  print(name))\nend\n\nreturn greet\n");
const code = new VSCode(home);
const scenario = scenarios(code);
const page = () => code.page.frameLocator("iframe.webview").frameLocator("#active-frame");
const han = /\p{Script=Han}/u;

before(async () => {
  code.install();
  await code.start(folder);
  await code.waitForStatus(({ icon }) => /codicon-sparkle/.test(icon), "ready");
  await page().locator("h1", { hasText: "Set up models" }).waitFor();
  await code.command("View: Close All Editors");
  await code.useLanguage("zh-cn", "中文（简体）");
});
after(() => code.stop());

/** The labels of a list that is open, without those that are below its edge. */
const rows = (list) => code.page.locator(`${list} .monaco-list-row .label-name`).allInnerTexts();

scenario("the status bar and its menu", async () => {
  const status = await code.waitForStatus(({ told }) => /模型：/.test(told), "the model, in Chinese");
  assert.match(status.told, /^Cambium, (模型在首次使用时加载, 模型：\S+|模型：Cambium Coder .*, 设备：CPU.*)$/);
  await code.page.locator(code.statusItem).click();
  await code.page.locator(".quick-input-list .monaco-list-row", { hasText: "暂停一小时" }).waitFor();
  await code.screenshot("vscode-chinese-menu");
  const entries = await rows(".quick-input-list");
  assert.ok(entries.length > 6);
  for (const entry of entries) assert.match(entry, han);
  await code.press("Escape");
});

scenario("the commands, and a review's words", async () => {
  await code.open("greet.lua", 2, 14);
  await code.command("Cambium: 审查此文件");
  await code.page.locator(".notification-toast", { hasText: "Cambium 发现了 1 个问题。" }).waitFor();
  await code.open("greet.lua", 2, 14);
  await code.press("Control+.");
  const actions = code.page.locator(".action-widget .monaco-list-row.action");
  await actions.first().waitFor();
  await code.screenshot("vscode-chinese-review");
  assert.deepEqual(await actions.allInnerTexts(), ["删除 ')'", "预览：删除 ')'",
    "解释：')' 没有与之对应的左括号。", "忽略：')' 没有与之对应的左括号。"]);
  await code.page.locator(".markers-panel .monaco-list-row", { hasText: "没有与之对应的左括号" }).waitFor();
  await code.press("Escape");
  await code.command("Notifications: Clear All Notifications");
  await code.command("View: Close All Editors");
});

scenario("the walkthrough, and the picture beside its steps", async () => {
  await code.page.setViewportSize({ width: 1300, height: 700 }); // the picture is not there in a narrow window
  await code.command("Welcome: Open Walkthrough...");
  await code.page.locator(".quick-input-list .monaco-list-row", { hasText: "开始使用 Cambium" }).click();
  const walkthrough = code.page.locator(".gettingStartedContainer");
  for (const title of ["输入，然后按 Tab", "只接受一部分", "审查您的更改", "设置您的模型"])
    await walkthrough.locator(".step-title", { hasText: title }).waitFor();
  await page().locator("p", { hasText: "灰色部分是建议" }).waitFor(); // the first step is chosen by itself, and then
  await walkthrough.locator(".step-title", { hasText: "只接受一部分" }).click();
  await page().locator("td", { hasText: "下一个语法节点" }).waitFor();
  await code.screenshot("vscode-chinese-walkthrough");
  await code.page.locator(".tab.active").click();
  await code.command("View: Close All Editors");
});

scenario("the settings", async () => {
  await code.command("Preferences: Open Settings (UI)");
  await code.page.locator(".settings-editor .settings-header .native-edit-context, .settings-editor .settings-header textarea")
    .first().focus();
  await code.type("@ext:cambium.cambium multiline");
  await code.page.locator(".setting-item-description", { hasText: "光标位于空的代码体中时建议整个代码体。" }).waitFor();
  await code.screenshot("vscode-chinese-settings");
  await code.press("Escape");
  await code.press("Escape");
  await code.page.locator(".settings-editor").waitFor({ state: "detached" });
});

scenario("the page where models are set up, the statistics, and the chat", async () => {
  await code.command("Cambium: 设置模型");
  await page().locator("h1", { hasText: "设置模型" }).waitFor();
  await page().locator("dd", { hasText: "尚无" }).first().waitFor();
  for (const label of await page().locator("h1, h2, dt, label span, button").allInnerTexts()) assert.match(label, han);
  await code.screenshot("vscode-chinese-set-up");
  await code.command("View: Close All Editors");
  await code.command("Cambium: 统计");
  await page().locator("th", { hasText: "已显示" }).waitFor();
  for (const label of await page().locator("h1, h2, p, th").allInnerTexts()) assert.match(label, han);
  await code.command("View: Close All Editors");
  await code.command("Cambium: 打开聊天");
  await page().getByPlaceholder("询问您的代码").waitFor();
  for (const label of await page().locator("button:visible, .empty p").allInnerTexts()) assert.match(label, han);
  await page().getByPlaceholder("询问您的代码").fill("这是什么？");
  await page().getByPlaceholder("询问您的代码").press("Enter");
  await page().locator(".problem", { hasText: "尚未配置能用文字回答的模型" }).waitFor();
  await code.screenshot("vscode-chinese-chat");
});
