// Code that a model writes into files on request: a comment, tests, a change. The server asks the model, and
// makes the edit if the file is still the one that it asked about.
import * as vscode from "vscode";
import type { Server } from "./client";
import { placeOf, type Place } from "./conversation";
import { translated } from "./words";

export type Task = "comment" | "tests" | "change";

/** Where: the cursor, or what is selected. */
export interface Target {
  uri: string;
  range: { start: Place; end: Place };
}

function here(): Target | undefined {
  const editor = vscode.window.activeTextEditor;
  if (!editor) return undefined;
  const { start, end } = editor.selection;
  return { uri: editor.document.uri.toString(), range: { start: placeOf(start), end: placeOf(end) } };
}

const title = (task: Task): string =>
  task === "comment" ? vscode.l10n.t("Cambium writes a comment")
  : task === "tests" ? vscode.l10n.t("Cambium writes tests")
  : vscode.l10n.t("Cambium changes the code");

/** Says what is wrong; where it is that no model is named, the page that names one is at hand. */
async function complain(problem: string): Promise<void> {
  const actions = problem.includes("models.json") ? [vscode.l10n.t("Set up models")] : [];
  const picked = await vscode.window.showWarningMessage(`Cambium: ${translated(problem)}`, ...actions);
  if (picked) await vscode.commands.executeCommand("cambium.setUp", "general");
}

export async function write(server: Server, task: Task, target = here()): Promise<void> {
  if (!target) {
    void vscode.window.showInformationMessage(vscode.l10n.t("Open a file first."));
    return;
  }
  const request = task === "change"
    ? await vscode.window.showInputBox({ prompt: vscode.l10n.t("What is to be changed?") })
    : undefined;
  if (task === "change" && !request?.trim()) return;
  await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: title(task), cancellable: true },
    async (progress, token) => {
      let written = 0;
      try {
        const { note } = await server.streamCommand<{ note?: string }>("cambium.write", { ...target, task, request },
          ({ kind, text }) => progress.report({
            message: kind === "thinking" ? vscode.l10n.t("Thinking…")
              : vscode.l10n.t("{0} characters", (written += text.length)),
          }), token);
        if (note) void vscode.window.showInformationMessage(`Cambium: ${translated(note)}`);
      } catch (error) {
        if (!token.isCancellationRequested) void complain((error as Error).message);
      }
    });
}
