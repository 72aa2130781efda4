// The chat: one view with a conversation. Questions, explanations of what is selected and of findings all
// come here; the page only draws what this says and tells what was pressed.
import * as vscode from "vscode";
import type { Server } from "./client";
import { type Answer, type Attachment, Conversation, type Finding, indented, labelOf, placeOf, type Turn } from "./conversation";
import { pageOptions, scriptedPage } from "./page";
import type { Previews } from "./preview";
import { translated } from "./words";

/** From the page. */
type Said =
  | { type: "ready" }
  | { type: "ask"; text: string }
  | { type: "cancel" | "clear" | "setUp" | "explain" }
  | { type: "attach"; on: boolean }
  | { type: "insert" | "diff" | "copy"; turn: number; text: string };

/** What the server says of where a block belongs. */
interface Placed {
  version: number;
  edits: { range: { start: vscode.Position; end: vscode.Position }; newText: string }[];
  replaced: string[];
  added: string[];
  leftOut: number;
}

const strings = () => ({
  placeholder: vscode.l10n.t("Ask about your code"),
  ask: vscode.l10n.t("Ask"),
  stop: vscode.l10n.t("Stop"),
  conversation: vscode.l10n.t("Conversation"),
  you: vscode.l10n.t("You"),
  model: vscode.l10n.t("Cambium"),
  thinking: vscode.l10n.t("Thinking…"),
  thought: vscode.l10n.t("How the model got there"),
  stopped: vscode.l10n.t("Stopped."),
  insert: vscode.l10n.t("Insert at cursor"),
  diff: vscode.l10n.t("Apply as diff"),
  copy: vscode.l10n.t("Copy"),
  copied: vscode.l10n.t("Copied"),
  attached: vscode.l10n.t("The model is shown {0}", "{0}"),
  detach: vscode.l10n.t("Do not show it"),
  attach: vscode.l10n.t("Show the model {0}", "{0}"),
  empty: vscode.l10n.t("Ask a question, or select code and have it explained. What you ask goes to the model that models.json names, and nowhere else."),
  explain: vscode.l10n.t("Explain the open file or selection"),
  setUp: vscode.l10n.t("Set up models"),
});

export class Chat implements vscode.WebviewViewProvider, vscode.Disposable {
  private readonly conversation = new Conversation();
  private view: vscode.WebviewView | undefined;
  private cancel: vscode.CancellationTokenSource | undefined;
  /** Whether the open file or selection goes with the next question. */
  private attaches = true;
  private readonly subscriptions: vscode.Disposable[];

  constructor(
    private readonly extension: vscode.Uri, private readonly server: Promise<Server>, private readonly previews: Previews,
  ) {
    const attachment = () => this.tellAttachment();
    this.subscriptions = [
      vscode.window.registerWebviewViewProvider("cambium.chat", this),
      vscode.window.onDidChangeActiveTextEditor(attachment),
      vscode.window.onDidChangeTextEditorSelection(attachment),
    ];
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    this.view = view;
    view.webview.options = pageOptions(this.extension);
    view.webview.onDidReceiveMessage((said: Said) => this.hear(said));
    view.onDidDispose(() => (this.view = undefined));
    view.webview.html = scriptedPage(view.webview, this.extension, "chat", vscode.l10n.t("Chat"), strings());
  }

  private tell(message: object): void {
    void this.view?.webview.postMessage(message);
  }

  private tellTurn(turn: Turn): void {
    this.tell({ type: "turn", turn: { ...turn, attachment: turn.attachment?.label } });
  }

  private tellAttachment(): void {
    const label = this.here()?.label;
    this.tell({ type: "attachment", label, on: this.attaches });
  }

  private hear(said: Said): unknown {
    switch (said.type) {
      case "ready":
        for (const turn of this.conversation.turns) this.tellTurn(turn);
        return this.tellAttachment();
      case "ask":
        return this.ask(said.text);
      case "cancel":
        return this.cancel?.cancel();
      case "clear":
        return this.clear();
      case "explain":
        return this.explain();
      case "setUp":
        return vscode.commands.executeCommand("cambium.setUp", "general");
      case "attach":
        this.attaches = said.on;
        return this.tellAttachment();
      case "insert":
        return this.insert(said.text);
      case "diff":
        return this.diff(said.text, this.conversation.find(said.turn)?.attachment);
      case "copy":
        return vscode.env.clipboard.writeText(said.text).then(() => this.tell({ type: "copied" }));
    }
  }

  /** What is selected in the active editor, or its file. */
  private here(): Attachment | undefined {
    const editor = vscode.window.activeTextEditor;
    if (!editor || !["file", "untitled", "vscode-remote"].includes(editor.document.uri.scheme)) return undefined;
    const { document, selection } = editor;
    const { start, end } = selection;
    const range = selection.isEmpty ? undefined : { start: placeOf(start), end: placeOf(end) };
    const name = vscode.workspace.asRelativePath(document.uri);
    return { uri: document.uri.toString(), range, version: document.version, label: labelOf(name, range) };
  }

  private ask(question: string): Promise<void> {
    const turn = this.conversation.begin(question, this.attaches ? this.here() : undefined);
    return this.run(turn, (server, onPiece, token) => {
      const attachment = this.conversation.fresh(turn);
      return server.stream<Answer>("cambium/chat", {
        messages: this.conversation.messages(turn),
        ...(attachment ? { attachments: [{ uri: attachment.uri, range: attachment.range }] } : {}),
      }, onPiece, token);
    });
  }

  /** A part of a document; without one, what is selected, or the open file. */
  async explain(target?: { uri: string; range: Finding["range"] }): Promise<void> {
    const here = target ? await this.attachmentOf(target) : this.here();
    if (!here) {
      void vscode.window.showInformationMessage(vscode.l10n.t("Open a file first."));
      return;
    }
    await this.explainBy({ uri: here.uri, range: here.range }, here, vscode.l10n.t("Explain {0}", here.label));
  }

  private async attachmentOf({ uri, range }: { uri: string; range: Finding["range"] }): Promise<Attachment> {
    const document = await vscode.workspace.openTextDocument(vscode.Uri.parse(uri));
    return { uri, range, version: document.version, label: labelOf(vscode.workspace.asRelativePath(document.uri), range) };
  }

  /** Why a finding of the review is one. */
  async explainFinding({ uri, fingerprint, message, range }: Finding): Promise<void> {
    await this.explainBy({ uri, finding: fingerprint }, await this.attachmentOf({ uri, range }),
      vscode.l10n.t("Why is this reported? {0}", message));
  }

  private async explainBy(argument: object, attachment: Attachment, question: string): Promise<void> {
    await vscode.commands.executeCommand("cambium.chat.focus");
    const turn = this.conversation.begin(question, attachment);
    await this.run(turn, (server, onPiece, token) =>
      server.streamCommand<Answer>("cambium.explain", argument, onPiece, token));
  }

  private async run(
    turn: Turn,
    ask: (server: Server, onPiece: Parameters<Server["stream"]>[2], token: vscode.CancellationToken) => Promise<Answer>,
  ): Promise<void> {
    this.cancel?.cancel(); // one answer at a time
    const cancel = (this.cancel = new vscode.CancellationTokenSource());
    this.tellTurn(turn);
    try {
      const answer = await ask(await this.server, ({ kind, text }) => {
        turn[kind] += text;
        this.tell({ type: "piece", id: turn.id, kind, text });
      }, cancel.token);
      this.conversation.answered(turn, answer);
    } catch (error) {
      turn.state = cancel.token.isCancellationRequested ? "stopped" : "failed";
      turn.note = turn.state === "failed" ? translated((error as Error).message) : "";
    }
    if (this.cancel === cancel) this.cancel = undefined;
    if (this.conversation.turns.includes(turn)) this.tellTurn(turn);
  }

  clear(): void {
    this.cancel?.cancel();
    this.conversation.clear();
    this.attaches = true;
    this.tell({ type: "clear" });
    this.tellAttachment();
  }

  // --- code blocks -------------------------------------------------------------------------------

  private async insert(block: string): Promise<void> {
    const editor = vscode.window.activeTextEditor;
    if (!editor) {
      void vscode.window.showInformationMessage(vscode.l10n.t("Open a file first."));
      return;
    }
    const line = editor.document.lineAt(editor.selection.start.line).text;
    const text = indented(block, /^[ \t]*/.exec(line)?.[0] ?? "");
    await editor.edit((edit) => edit.replace(editor.selection, text));
    await vscode.window.showTextDocument(editor.document, editor.viewColumn);
  }

  /** Shows the file that the answer is about with the block in it. */
  private async diff(block: string, about: Attachment | undefined): Promise<void> {
    const here = this.here();
    const uri = about?.uri ?? here?.uri;
    if (!uri) {
      void vscode.window.showInformationMessage(vscode.l10n.t("Open a file first."));
      return;
    }
    const document = await vscode.workspace.openTextDocument(vscode.Uri.parse(uri));
    // A selection of now counts more than the one that the question was about, which edits may have moved.
    const asked = about?.version === document.version ? about.range : undefined;
    const range = (here?.uri === uri ? here.range : undefined) ?? asked;
    const placed = await (await this.server).execute<Placed>("cambium.place", [{ uri, text: block, range }]);
    if (!placed) return;
    if (placed.edits.length === 0) {
      void vscode.window.showInformationMessage(vscode.l10n.t("The file has all of this already."));
      return;
    }
    if (placed.version !== document.version) return;
    const edits = placed.edits.map(({ range: { start, end }, newText }) =>
      vscode.TextEdit.replace(new vscode.Range(start.line, start.character, end.line, end.character), newText));
    const { replaced, added, leftOut } = placed;
    if (leftOut > 0) {
      void vscode.window.showInformationMessage(
        vscode.l10n.t("{0} lines of the block belong to no definition and were left out.", leftOut));
    }
    await this.previews.show(document, edits, [
      replaced.length > 0 ? vscode.l10n.t("changes {0}", replaced.join(", ")) : "",
      added.length > 0 ? vscode.l10n.t("adds {0}", added.join(", ")) : "",
    ].filter(Boolean).join("; ") || vscode.l10n.t("the answer's block"));
  }

  dispose(): void {
    this.cancel?.cancel();
    for (const each of this.subscriptions) each.dispose();
  }
}
