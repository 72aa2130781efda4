// Review on demand. What it finds are diagnostics of the language client, with its quick fixes.
import * as vscode from "vscode";
import type { Server } from "./client";
import { translated } from "./words";

interface Reviewed {
  findings: number;
  files: number;
  /** Sentences of the server's: what was left out, and what went wrong. */
  notes: string[];
}

/** Whether nothing could be looked at: then nothing was found either. */
const failed = ({ files, notes }: Reviewed): boolean => files === 0 && notes.length > 0;

/** What is said of a review. */
export function said(reviewed: Reviewed): string {
  const { t } = vscode.l10n;
  const { findings, notes } = reviewed;
  const found = failed(reviewed) ? []
    : [findings === 0 ? t("Cambium found nothing to complain about.")
      : findings === 1 ? t("Cambium found 1 problem.") : t("Cambium found {0} problems.", findings)];
  return [...(found.length > 0 ? found : ["Cambium:"]), ...notes.map(translated)].join(" ");
}

async function run(server: Server, title: string, argument: object): Promise<void> {
  const reviewed = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    (_, token) => server.execute<Reviewed>("cambium.review", [argument], token));
  if (!reviewed) return;
  if (reviewed.findings > 0) await vscode.commands.executeCommand("workbench.actions.view.problems");
  const show = failed(reviewed) ? vscode.window.showWarningMessage : vscode.window.showInformationMessage;
  // The rules of a workspace that is not trusted are left out: the way to trust it is at hand.
  const untrusted = !vscode.workspace.isTrusted && reviewed.notes.some((note) => note.startsWith(".cambium/"));
  const picked = await show(said(reviewed), ...(untrusted ? [vscode.l10n.t("Manage Workspace Trust")] : []));
  if (picked) await vscode.commands.executeCommand("workbench.trust.manage");
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
