// The server process and the connection to it: start, restart with back-off, and say what is wrong.
import * as vscode from "vscode";
import {
  CloseAction, ErrorAction, LanguageClient, LanguageClientOptions, ProgressType, RevealOutputChannelOn, ServerOptions,
  State as ClientState,
} from "vscode-languageclient/node";
import { addActions } from "./actions";
import { findServer } from "./find";
import { InlineSuggestions } from "./inline";
import { forServer, serverArguments } from "./settings";
import { ServerStatus, StatusItem } from "./status";
import { inWords, translated } from "./words";

/** Milliseconds before the n-th restart in a row; after the last, the user is asked. */
export const backOff = [0, 500, 2000, 8000] as const;
/** A server that ran this long was fine: the next failure starts from the first delay. */
const healthyAfter = 60_000;

/** Whoever typed while the server started gets a suggestion without another keystroke. */
async function suggestNow(): Promise<void> {
  if (vscode.window.activeTextEditor?.document.isDirty)
    await vscode.commands.executeCommand("editor.action.inlineSuggest.trigger");
}

/** A part of an answer that is streamed. */
export interface Piece {
  kind: "text" | "thinking";
  text: string;
}

export class Server implements vscode.Disposable {
  private client: LanguageClient | undefined;
  /** The program that was started last. */
  program: string | undefined;
  private failures = 0;
  private startedAt = 0;
  private timer: NodeJS.Timeout | undefined;
  private stopping = false;
  private streams = 0;
  readonly suggestions = new InlineSuggestions(() => this.running);

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly status: StatusItem,
    private readonly log: vscode.LogOutputChannel,
  ) {
    context.subscriptions.push(
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.tellTrust()),
      vscode.workspace.onDidChangeWorkspaceFolders(() => this.tellTrust()),
    );
  }

  get running(): LanguageClient | undefined {
    return this.client?.state === ClientState.Running ? this.client : undefined;
  }

  /** Runs a command of the server. Undefined, and the user is told, where it can't. */
  async execute<Result>(
    command: string, args: unknown[] = [], token?: vscode.CancellationToken,
  ): Promise<Result | undefined> {
    const client = this.running;
    if (!client) {
      void vscode.window.showInformationMessage(vscode.l10n.t("The Cambium server is not running."));
      return undefined;
    }
    try {
      const params = { command, arguments: args };
      return await (token // an undefined one would be sent as a second parameter
        ? client.sendRequest<Result>("workspace/executeCommand", params, token)
        : client.sendRequest<Result>("workspace/executeCommand", params));
    } catch (error) {
      if (!token?.isCancellationRequested) void vscode.window.showWarningMessage(`Cambium: ${translated((error as Error).message)}`);
      return undefined;
    }
  }

  /**
   * A request whose answer is streamed; the whole of it comes at the end as well. Errors, of which one is that
   * the token was cancelled, are the caller's to show.
   */
  stream<Result>(
    method: string, params: object, onPiece: (piece: Piece) => void, token: vscode.CancellationToken,
  ): Promise<Result> {
    return this.streaming(method, (partialResultToken) => ({ ...params, partialResultToken }), onPiece, token);
  }

  /** The same for a command of the server's with one argument. */
  streamCommand<Result>(
    command: string, argument: object, onPiece: (piece: Piece) => void, token: vscode.CancellationToken,
  ): Promise<Result> {
    return this.streaming("workspace/executeCommand",
      (partialResultToken) => ({ command, arguments: [{ ...argument, partialResultToken }] }), onPiece, token);
  }

  private async streaming<Result>(
    method: string, params: (token: string) => object, onPiece: (piece: Piece) => void, token: vscode.CancellationToken,
  ): Promise<Result> {
    const client = this.running;
    if (!client) throw new Error(vscode.l10n.t("The Cambium server is not running."));
    const streamed = `answer-${++this.streams}`;
    const listening = client.onProgress(new ProgressType<Piece>(), streamed, onPiece);
    try {
      return await client.sendRequest<Result>(method, params(streamed), token);
    } finally {
      listening.dispose();
    }
  }

  async start(): Promise<void> {
    this.stopping = false;
    const config = vscode.workspace.getConfiguration("cambium");
    const found = findServer({
      setting: config.get("path", ""),
      extensionFolder: this.context.extensionPath,
      path: process.env.PATH ?? "",
      windows: process.platform === "win32",
    });
    if ("problem" in found) {
      void this.reportMissing(found.problem, found.looked);
      return;
    }
    this.program = found.program;
    const args = serverArguments(config);
    this.log.info(`starting ${found.program} ${args.join(" ")}`);
    this.status.set({ state: "starting" });
    this.startedAt = Date.now();
    const client = this.makeClient({ command: found.program, args });
    this.client = client;
    client.onNotification("cambium/status", (status: ServerStatus) => this.status.set(status));
    client.onDidChangeState(({ newState }) => {
      if (newState === ClientState.Stopped && !this.stopping && this.client === client) this.failed();
    });
    try {
      await client.start();
      this.tellTrust();
      await suggestNow();
    } catch (error) {
      this.log.error(String(error));
      if (this.client === client && !this.stopping && this.timer === undefined) this.failed();
    }
  }

  /**
   * Which folders the user trusts. By a message and not by a setting: settings come merged with the
   * workspace's own.
   */
  private tellTrust(): void {
    const trusted = vscode.workspace.isTrusted ? (vscode.workspace.workspaceFolders ?? []) : [];
    const folders = trusted.map(({ uri }) => uri.toString());
    void this.running?.sendNotification("cambium/workspaceTrust", { folders });
  }

  private makeClient(run: ServerOptions): LanguageClient {
    const options: LanguageClientOptions = {
      documentSelector: [{ scheme: "file" }, { scheme: "untitled" }, { scheme: "vscode-remote" }],
      outputChannel: this.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      middleware: {
        provideInlineCompletionItems: this.suggestions.middleware,
        provideCodeActions: addActions,
        provideDiagnostics: async (document, previous, token, next) => {
          const report = await next(document, previous, token);
          return report && "items" in report ? { ...report, items: inWords(report.items) } : report;
        },
        handleDiagnostics: (uri, diagnostics, next) => next(uri, inWords(diagnostics)),
        workspace: {
          // What became flags is not sent as well: the server takes no such key from a client.
          configuration: async (params, token, next) => {
            const answer = await next(params, token);
            return Array.isArray(answer) ? answer.map(forServer) : answer;
          },
        },
      },
      initializationFailedHandler: () => false,
      // Restarts are ours, with back-off; the client's own would race with them.
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
      },
    };
    const client = new LanguageClient("cambium", "Cambium", run, options);
    client.registerFeature({
      // The server then offers what needs a question to the user first.
      fillClientCapabilities: (capabilities) => {
        capabilities.experimental = { ...capabilities.experimental, cambium: { requests: true } };
      },
      initialize: () => {},
      getState: () => ({ kind: "static" }),
      clear: () => {},
    });
    return client;
  }

  private failed(): void {
    if (Date.now() - this.startedAt > healthyAfter) this.failures = 0;
    const delay = backOff[this.failures];
    this.failures += 1;
    if (delay === undefined) {
      this.status.set({ state: "problem", message: vscode.l10n.t("The server keeps stopping.") });
      void this.ask(vscode.l10n.t("The Cambium server stopped {0} times in a row.", this.failures), [
        [vscode.l10n.t("Restart"), () => this.restart()],
        [vscode.l10n.t("Show the Log"), () => this.log.show()],
      ]);
      return;
    }
    this.status.set({ state: "starting", message: vscode.l10n.t("The server stopped; starting it again.") });
    this.log.warn(`the server stopped; starting again in ${delay} ms`);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.start();
    }, delay);
  }

  private async reportMissing(problem: "setting" | "missing", looked: string[]): Promise<void> {
    const message =
      problem === "setting"
        ? vscode.l10n.t("There is no program at {0}, which the setting cambium.path names.", looked[0] ?? "")
        : vscode.l10n.t("The cambium program is neither in the extension nor on PATH.");
    this.log.error(`${message}\nlooked at:\n${looked.join("\n")}`);
    this.status.set({ state: "problem", message });
    await this.ask(message, [
      [
        vscode.l10n.t("Choose the Program"),
        async () => {
          const picked = await vscode.window.showOpenDialog({ canSelectMany: false });
          if (picked?.[0]) {
            await vscode.workspace
              .getConfiguration("cambium")
              .update("path", picked[0].fsPath, vscode.ConfigurationTarget.Global);
          }
        },
      ],
      [vscode.l10n.t("Show the Log"), () => this.log.show()],
    ]);
  }

  private async ask(message: string, actions: [string, () => unknown][]): Promise<void> {
    const picked = await vscode.window.showWarningMessage(message, ...actions.map(([title]) => title));
    await actions.find(([title]) => title === picked)?.[1]();
  }

  async restart(): Promise<void> {
    await this.stop();
    this.failures = 0;
    await this.start();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.timer);
    this.timer = undefined;
    const client = this.client;
    this.client = undefined;
    if (client?.needsStop()) await client.stop().catch((error) => this.log.warn(String(error)));
  }

  dispose(): void {
    this.suggestions.dispose();
    void this.stop();
  }
}
