// The page where models are set up: a file, one to be pulled, or an endpoint, each for a kind of work. What
// it is told goes into the user's own models.json, by the command line: no such thing travels over LSP.
import { spawn } from "node:child_process";
import * as vscode from "vscode";
import type { Server } from "./client";
import { pageOptions, scriptedPage } from "./page";
import { modelsFlags } from "./settings";

const shownBefore = "setUpShown";

/** What `cambium models list --json` prints, as far as it is shown. */
interface Listed {
  /** Nothing but the model that ships has been set up. */
  bundled: boolean;
  roles: Record<string, { name: string; where: string }>;
  files: { path: string; used: boolean; problem: string; bytes?: number; name?: string }[];
}

type Card = "file" | "pull" | "endpoint";

/** From the page. */
type Said =
  | { type: "ready" | "stop" }
  | { type: "choose"; role: string }
  | { type: "file"; role: string; path: string }
  | { type: "none"; role: string }
  | { type: "pull"; role: string; url: string; sha256: string }
  | { type: "endpoint"; role: string; url: string; name: string; keyEnv: string };

const strings = () => ({
  title: vscode.l10n.t("Set up models"),
  lead: vscode.l10n.t("The small model that comes with Cambium completes on any machine. A larger one completes better, and one that chats answers questions."),
  now: vscode.l10n.t("In use"),
  bundled: vscode.l10n.t("The model that comes with Cambium"),
  nobody: vscode.l10n.t("none yet"),
  remove: vscode.l10n.t("Remove"),
  role: vscode.l10n.t("Set up a model for"),
  completion: vscode.l10n.t("Completion"),
  general: vscode.l10n.t("Questions and explanations"),
  reasoning: vscode.l10n.t("Reasoning and reviews"),
  file: vscode.l10n.t("A file on this machine"),
  choose: vscode.l10n.t("Choose a GGUF file…"),
  use: vscode.l10n.t("Use"),
  pull: vscode.l10n.t("A file to download"),
  url: vscode.l10n.t("URL of a GGUF file"),
  sha256: vscode.l10n.t("Its SHA-256, if you know it"),
  download: vscode.l10n.t("Download"),
  stop: vscode.l10n.t("Stop"),
  endpoint: vscode.l10n.t("An endpoint"),
  endpointUrl: vscode.l10n.t("Its URL, ending in /v1"),
  name: vscode.l10n.t("The model's name there"),
  keyEnv: vscode.l10n.t("The variable that holds its key, if it wants one"),
  leaves: vscode.l10n.t("Code and questions for this kind of work are then sent to that address."),
});

export class SetUp {
  private panel: vscode.WebviewPanel | undefined;
  private role: string | undefined;
  private stopPull: (() => void) | undefined;

  constructor(private readonly context: vscode.ExtensionContext, private readonly server: Server) {}

  /** Once, where there is only the model that ships. */
  async showAtFirst(): Promise<void> {
    if (this.context.globalState.get(shownBefore)) return;
    const listed = await this.list();
    await this.context.globalState.update(shownBefore, true);
    if (listed.bundled) this.show(undefined, true);
  }

  /** `role`: the kind of work that a model is wanted for. */
  show(role?: string, preserveFocus = false): void {
    this.role = role;
    if (this.panel) {
      this.tell({ type: "role", role });
      return this.panel.reveal();
    }
    const { title } = strings();
    const panel = (this.panel = vscode.window.createWebviewPanel("cambium.setUp", `Cambium: ${title}`,
      { viewColumn: vscode.ViewColumn.Active, preserveFocus }, pageOptions(this.context.extensionUri)));
    panel.onDidDispose(() => {
      this.panel = undefined;
      this.stopPull?.(); // what has come stays, and the next try goes on from there
    });
    panel.webview.onDidReceiveMessage((said: Said) => this.hear(said));
    panel.webview.html = scriptedPage(panel.webview, this.context.extensionUri, "setup", title, strings());
  }

  private tell(message: object): void {
    void this.panel?.webview.postMessage(message);
  }

  private async hear(said: Said): Promise<void> {
    switch (said.type) {
      case "ready":
        this.tell({ type: "role", role: this.role });
        return this.attempt("file", () => this.tellState());
      case "stop":
        return this.stopPull?.();
      case "none":
        return this.attempt("file", () => this.use(said.role, "none"));
      case "file":
        return this.attempt("file", () => this.use(said.role, said.path));
      case "choose": {
        const chosen = await vscode.window.showOpenDialog({ canSelectMany: false, filters: { GGUF: ["gguf"] } });
        const file = chosen?.[0]?.fsPath;
        return file ? this.attempt("file", () => this.use(said.role, file)) : undefined;
      }
      case "pull":
        return this.attempt("pull", () => this.pull(said));
      case "endpoint":
        return this.attempt("endpoint", () =>
          this.use(said.role, said.url, "--name", said.name, ...(said.keyEnv ? ["--key-env", said.keyEnv] : [])));
    }
  }

  /** Tells the page how it ended: an error is a sentence of the command line's. */
  private async attempt(card: Card, work: () => Promise<void>): Promise<void> {
    this.tell({ type: "begun", card });
    try {
      await work();
      this.tell({ type: "ended", card });
    } catch (error) {
      this.tell({ type: "ended", card, problem: (error as Error).message });
    }
  }

  private async tellState(): Promise<void> {
    this.tell({ type: "state", state: await this.list() });
  }

  private async list(): Promise<Listed> {
    const config = vscode.workspace.getConfiguration("cambium");
    const model = config.get("model", "");
    const args = ["list", "--json", ...modelsFlags(config), ...(model ? ["--model", model] : [])];
    return JSON.parse(await this.run(args)) as Listed;
  }

  private async use(role: string, ...what: string[]): Promise<void> {
    const config = vscode.workspace.getConfiguration("cambium");
    await this.run(["use", role, ...what, ...modelsFlags(config)]);
    // The setting becomes a flag, which would count more than what was just said. Its change restarts too.
    if (role === "completion" && config.get("model", "")) await config.update("model", undefined, vscode.ConfigurationTarget.Global);
    else await this.server.restart();
    await this.tellState();
  }

  private async pull({ role, url, sha256 }: { role: string; url: string; sha256: string }): Promise<void> {
    let path: string | undefined;
    await this.run(["pull", url, "--json", ...(sha256 ? ["--sha256", sha256] : [])], (line) => {
      const told = JSON.parse(line) as { done?: number; whole?: number; path?: string };
      if (told.path !== undefined) path = told.path;
      else this.tell({ type: "progress", done: told.done, whole: told.whole });
    });
    if (path !== undefined) await this.use(role, path);
  }

  /** Runs `cambium models ARGS`; gives what it prints, or fails with what it complains of. */
  private run(args: string[], onLine?: (line: string) => void): Promise<string> {
    const program = this.server.program;
    if (!program) return Promise.reject(new Error(vscode.l10n.t("The cambium program is neither in the extension nor on PATH.")));
    return new Promise((resolve, reject) => {
      const child = spawn(program, ["models", ...args], { stdio: ["ignore", "pipe", "pipe"] });
      if (onLine) this.stopPull = () => child.kill();
      let out = "";
      let complaint = "";
      let rest = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        out += text;
        if (!onLine) return;
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        lines.forEach(onLine);
      });
      child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
      child.on("error", reject);
      child.on("close", (code, signal) => {
        if (onLine) this.stopPull = undefined;
        if (code === 0) resolve(out);
        else if (signal) reject(new Error(vscode.l10n.t("Stopped; the next download goes on from here.")));
        else reject(new Error(complaint.trim().replace(/^cambium: /, "")));
      });
    });
  }
}
