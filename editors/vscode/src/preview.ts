// Changes to a file, shown in the editor's own comparison before they are made: the file on the left, the
// file with the changes on the right, and two buttons in the title.
import * as vscode from "vscode";

const scheme = "cambium-preview";

interface Proposal {
  document: vscode.Uri;
  version: number;
  edits: vscode.TextEdit[];
  text: string;
}

/** `text` with the edits made; they do not overlap, and their places are of `document`. */
function applied(document: vscode.TextDocument, edits: readonly vscode.TextEdit[]): string {
  const text = document.getText();
  let out = "";
  let at = 0;
  for (const { range, newText } of [...edits].sort((a, b) => a.range.start.compareTo(b.range.start))) {
    out += text.slice(at, document.offsetAt(range.start)) + newText;
    at = document.offsetAt(range.end);
  }
  return out + text.slice(at);
}

export class Previews implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly proposals = new Map<string, Proposal>();
  private count = 0;
  private readonly subscriptions: vscode.Disposable[];

  constructor() {
    this.subscriptions = [
      vscode.workspace.registerTextDocumentContentProvider(scheme, this),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => this.proposals.delete(uri.toString())),
    ];
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.proposals.get(uri.toString())?.text ?? "";
  }

  /** Shows what the edits would make of the document. `title` says what they are. */
  async show(document: vscode.TextDocument, edits: vscode.TextEdit[], title: string): Promise<void> {
    const proposal = { document: document.uri, version: document.version, edits, text: applied(document, edits) };
    const uri = vscode.Uri.from({ scheme, path: document.uri.path, query: String(++this.count) });
    this.proposals.set(uri.toString(), proposal);
    await vscode.commands.executeCommand("vscode.diff", document.uri, uri,
      `${vscode.workspace.asRelativePath(document.uri)}: ${title}`, { preview: true });
  }

  /** Makes the changes of the comparison that is open, and closes it. */
  async accept(): Promise<void> {
    const open = this.openTab();
    const proposal = open && this.proposals.get(open.uri.toString());
    if (!open || !proposal) return;
    const document = await vscode.workspace.openTextDocument(proposal.document);
    if (document.version !== proposal.version) {
      void vscode.window.showWarningMessage(
        vscode.l10n.t("The file has changed since; open the comparison again from where it came."));
      return;
    }
    const edit = new vscode.WorkspaceEdit();
    edit.set(proposal.document, proposal.edits);
    if (!(await vscode.workspace.applyEdit(edit))) return;
    await vscode.window.tabGroups.close(open.tab);
    await vscode.window.showTextDocument(document);
  }

  async discard(): Promise<void> {
    const open = this.openTab();
    if (open) await vscode.window.tabGroups.close(open.tab);
  }

  private openTab(): { tab: vscode.Tab; uri: vscode.Uri } | undefined {
    const tab = vscode.window.tabGroups.activeTabGroup.activeTab;
    return tab?.input instanceof vscode.TabInputTextDiff && tab.input.modified.scheme === scheme
      ? { tab, uri: tab.input.modified }
      : undefined;
  }

  dispose(): void {
    for (const each of this.subscriptions) each.dispose();
  }
}
