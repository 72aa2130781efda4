// What the extension adds to the server's code actions: why a finding is reported, told in the chat, a fix
// seen before it is made; and its own ways to do what the server's commands do, with questions and progress.
import * as vscode from "vscode";
import type { LanguageClient, Middleware } from "vscode-languageclient/node";
import { fingerprintOf, placeOf, type Finding } from "./conversation";
import type { Previews } from "./preview";
import { translated } from "./words";

/** A fix of the server's whose edit is asked for when it is wanted. */
export interface Unresolved {
  uri: string;
  title: string;
  data: unknown;
}

/** The server's findings among these diagnostics. */
function findings(uri: vscode.Uri, diagnostics: readonly vscode.Diagnostic[]): Finding[] {
  return diagnostics.flatMap((each) => {
    const fingerprint = each.source === "cambium" ? fingerprintOf(each) : undefined;
    return fingerprint === undefined ? [] : [{
      uri: uri.toString(), fingerprint, message: each.message,
      range: { start: placeOf(each.range.start), end: placeOf(each.range.end) },
    }];
  });
}

/** The finding at the cursor, or on its line. */
function findingHere(): Finding | undefined {
  const editor = vscode.window.activeTextEditor;
  if (!editor) return undefined;
  const { uri } = editor.document;
  const cursor = editor.selection.active;
  const near = vscode.languages.getDiagnostics(uri).filter(({ range }) => range.start.line <= cursor.line && cursor.line <= range.end.line);
  near.sort((one, other) => Number(other.range.contains(cursor)) - Number(one.range.contains(cursor)));
  return findings(uri, near)[0];
}

/** Has a finding explained; without one, that at the cursor. */
export async function explainFinding(explain: (finding: Finding) => Promise<void>, finding = findingHere()): Promise<void> {
  if (finding) await explain(finding);
  else void vscode.window.showInformationMessage(vscode.l10n.t("There is no finding of Cambium at the cursor."));
}

/** A command as an action. It may come back from the server, so its argument is plain. */
function actionOf(title: string, command: string, argument: object): vscode.CodeAction {
  const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
  action.command = { command, title, arguments: [argument] };
  return action;
}

const tasks: Record<string, string> = {
  comment: "cambium.writeComment", tests: "cambium.writeTests", change: "cambium.changeCode",
};

/** An action of the server's in the editor's language, done by the extension where it does that better. */
function ours(action: vscode.Command | vscode.CodeAction): vscode.Command | vscode.CodeAction {
  action.title = translated(action.title);
  if (!(action instanceof vscode.CodeAction) || !action.command) return action;
  const { command, title } = action.command;
  const argument = action.command.arguments?.[0] as { uri: string; range: unknown; task?: string } | undefined;
  const name = command === "cambium.explain" ? "cambium.explainSelection"
    : command === "cambium.write" ? tasks[argument?.task ?? ""] : undefined;
  if (name && argument) action.command = { command: name, title, arguments: [{ uri: argument.uri, range: argument.range }] };
  return action;
}

export const addActions: Middleware["provideCodeActions"] = async (document, range, context, token, next) => {
  const actions = ((await next(document, range, context, token)) ?? []).map(ours);
  if (token.isCancellationRequested || (context.only && !context.only.intersects(vscode.CodeActionKind.QuickFix))) return actions;
  const fixes: (vscode.Command | vscode.CodeAction)[] = [];
  const others: typeof fixes = [];
  for (const action of actions) {
    const { data } = action as { data?: unknown };
    const dismisses = action instanceof vscode.CodeAction && action.command?.command === "cambium.dismiss";
    (dismisses ? others : fixes).push(action);
    if (!(action instanceof vscode.CodeAction) || data === undefined || action.edit || action.command) continue;
    const fix: Unresolved = { uri: document.uri.toString(), title: action.title, data };
    fixes.push(actionOf(vscode.l10n.t("Preview: {0}", action.title), "cambium.previewFix", fix));
  }
  const explained = findings(document.uri, context.diagnostics).map((finding) =>
    actionOf(vscode.l10n.t("Explain: {0}", finding.message), "cambium.explainFinding", finding));
  return [...fixes, ...explained, ...others];
};

/** Shows what a fix would make of its file. */
export async function previewFix(client: LanguageClient | undefined, previews: Previews, fix: Unresolved): Promise<void> {
  if (!client) return;
  const { edit } = await client.sendRequest<{ edit: Parameters<typeof client.protocol2CodeConverter.asWorkspaceEdit>[0] }>(
    "codeAction/resolve", { title: fix.title, kind: "quickfix", data: fix.data });
  const made = await client.protocol2CodeConverter.asWorkspaceEdit(edit);
  const document = await vscode.workspace.openTextDocument(vscode.Uri.parse(fix.uri));
  await previews.show(document, made?.get(document.uri) ?? [], fix.title);
}
