// Review on demand. What it finds are diagnostics of the language client, with its quick fixes.
import * as vscode from "vscode";
import type { Server } from "./client";

interface Reviewed {
  findings: number;
  files: number;
  notes: string[];
}

async function run(server: Server, title: string, argument: object): Promise<void> {
  const reviewed = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    (_, token) => server.execute<Reviewed>("cambium.review", [argument], token));
  if (!reviewed) return;
  const { findings, notes } = reviewed;
  if (findings > 0) await vscode.commands.executeCommand("workbench.actions.view.problems");
  const said = findings === 0
    ? vscode.l10n.t("Cambium found nothing to complain about.")
    : vscode.l10n.t("Cambium found {0}; see Problems.", findings);
  void vscode.window.showInformationMessage([said, ...notes].join(" "));
}

export async function reviewFile(server: Server): Promise<void> {
  const document = vscode.window.activeTextEditor?.document;
  if (!document) {
    void vscode.window.showInformationMessage(vscode.l10n.t("Open a file first."));
    return;
  }
  await run(server, vscode.l10n.t("Cambium reviews this file"), { uri: document.uri.toString() });
}

export function reviewChanges(server: Server): Promise<void> {
  return run(server, vscode.l10n.t("Cambium reviews what is not committed"), { scope: "diff" });
}
