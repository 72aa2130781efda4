// Ghost text on the client's side: tells the server what was shown and how much of it was taken, and
// accepts up to the end of a syntax node, which only the server knows.
import * as vscode from "vscode";
import type { LanguageClient, Middleware } from "vscode-languageclient/node";
import { rest, Shown, taken } from "./progress";

type Item = { insertText: string; command: vscode.Command };

export class InlineSuggestions implements vscode.Disposable {
  private current: (Shown<Item> & { uri: string }) | undefined;
  private readonly subscription: vscode.Disposable;

  constructor(private readonly client: () => LanguageClient | undefined) {
    this.subscription = vscode.workspace.onDidChangeTextDocument((change) => this.changed(change));
  }

  readonly middleware: Middleware["provideInlineCompletionItems"] = async (document, position, context, token, next) => {
    const result = await next(document, position, context, token);
    const [first] = Array.isArray(result) ? result : (result?.items ?? []);
    if (!first?.command || token.isCancellationRequested) return result;
    const text = typeof first.insertText === "string" ? first.insertText : first.insertText.value;
    const item = { insertText: text, command: first.command };
    this.current = {
      item, text, start: document.offsetAt(first.range?.start ?? position), uri: document.uri.toString(),
    };
    void this.client()?.sendNotification("textDocument/didShowCompletion", { item });
    return result;
  };

  private changed({ document, contentChanges }: vscode.TextDocumentChangeEvent): void {
    const current = this.current;
    if (!current || contentChanges.length === 0 || document.uri.toString() !== current.uri) return;
    const [change, ...more] = contentChanges;
    if (!change || more.length > 0) {
      this.current = undefined;
      return;
    }
    const did = taken(current, { offset: change.rangeOffset, text: change.text }, document.getText());
    if (did.kind === "left") this.current = undefined;
    else if (did.kind === "accepted" && did.length < current.text.length)
      void this.client()?.sendNotification("textDocument/didPartiallyAcceptCompletion", {
        item: current.item, acceptedLength: did.length,
      });
  }

  /** Inserts what is left of the suggestion up to the end of its next syntax node. */
  async acceptNode(): Promise<void> {
    const editor = vscode.window.activeTextEditor;
    const current = this.current;
    const client = this.client();
    if (!editor || !current || !client || editor.document.uri.toString() !== current.uri) return;
    const { document } = editor;
    const position = editor.selection.active;
    const left = rest(current, document.offsetAt(position), document.getText());
    if (left === undefined) return;
    const { length } = await client.sendRequest<{ length: number }>("workspace/executeCommand", {
      command: "cambium.node",
      arguments: [{ textDocument: { uri: current.uri }, position, text: left }],
    });
    if (!editor.selection.active.isEqual(position)) return;
    await editor.edit((edit) => edit.insert(position, left.slice(0, length)));
    if (length < left.length) await vscode.commands.executeCommand("editor.action.inlineSuggest.trigger");
    else await client.sendRequest("workspace/executeCommand", current.item.command);
  }

  dispose(): void {
    this.subscription.dispose();
  }
}
