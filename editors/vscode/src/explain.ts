// Explains what is selected, or the file, in a page beside it that fills while the model writes.
import * as vscode from "vscode";
import type { Server } from "./client";
import { escaped } from "./html";

/** What the server's command cambium.explain gives, as far as it is shown. */
interface Answer {
  text: string;
  thinking?: string;
  timings: { route: { model: string; reason: string } };
}

/**
 * The page: no scripts, and nothing is fetched, whatever the model writes. `body` and `thinking` are HTML
 * that came of Markdown; the rest is text.
 */
function page(title: string, parts: { place: string; body: string; thinking: string; foot: string }): string {
  const folded = parts.thinking
    ? `<details><summary>${escaped(vscode.l10n.t("How the model got there"))}</summary>${parts.thinking}</details>`
    : "";
  return `<!DOCTYPE html><html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title><style>
body { font: var(--vscode-font-weight) var(--vscode-font-size)/1.5 var(--vscode-font-family); max-width: 46em; padding: 0 1.5em }
pre { background: var(--vscode-textCodeBlock-background); overflow-x: auto; padding: .8em }
code { font-family: var(--vscode-editor-font-family) }
summary, .place, .foot { color: var(--vscode-descriptionForeground) } .foot { font-size: .9em; margin-top: 2em }
</style></head><body><p class="place">${escaped(parts.place)}</p>${folded}<div class="answer">${parts.body}</div>
<p class="foot">${escaped(parts.foot)}</p></body></html>`;
}

/** Markdown as the editor's own preview renders it. */
async function rendered(markdown: string): Promise<string> {
  return markdown ? vscode.commands.executeCommand<string>("markdown.api.render", markdown) : "";
}

export async function explain(server: Server): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    void vscode.window.showInformationMessage(vscode.l10n.t("Open a file first."));
    return;
  }
  const { document, selection } = editor;
  const name = vscode.workspace.asRelativePath(document.uri);
  const first = selection.start.line + 1;
  // Whole lines end where the next one begins.
  const last = Math.max(first, selection.end.character === 0 ? selection.end.line : selection.end.line + 1);
  const place = selection.isEmpty ? name : `${name}:${first === last ? first : `${first}–${last}`}`;
  const title = vscode.l10n.t("Cambium: Explanation");
  const cancel = new vscode.CancellationTokenSource();
  const texts = { text: "", thinking: "" };
  let panel: vscode.WebviewPanel | undefined;
  let drawing: Promise<void> = Promise.resolve();
  let due = false;

  // One drawing at a time; what comes meanwhile is in the next.
  const draw = (foot: string): void => {
    if (due) return;
    due = true;
    drawing = drawing.then(async () => {
      due = false;
      const parts = { place, foot, body: await rendered(texts.text), thinking: await rendered(texts.thinking) };
      if (cancel.token.isCancellationRequested) return;
      if (!panel) {
        panel = vscode.window.createWebviewPanel("cambium.explanation", title,
          { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true }, { localResourceRoots: [] });
        panel.onDidDispose(() => cancel.cancel()); // nobody reads on: the model stops
      }
      panel.webview.html = page(title, parts);
    });
  };

  const answer = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: vscode.l10n.t("Cambium explains {0}", place), cancellable: true },
    (_, token) => {
      token.onCancellationRequested(() => cancel.cancel());
      const argument = {
        uri: document.uri.toString(),
        ...(selection.isEmpty ? {} : { range: { start: selection.start, end: selection.end } }),
      };
      return server.executeStreaming<Answer>("cambium.explain", argument, ({ kind, text }) => {
        texts[kind] += text;
        draw("");
      }, cancel.token);
    });
  await drawing;
  if (!answer) return;
  texts.text = answer.text;
  texts.thinking = answer.thinking ?? "";
  draw(`${answer.timings.route.model} · ${answer.timings.route.reason}`);
}
