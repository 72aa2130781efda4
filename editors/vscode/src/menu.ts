// The commands, and the menu behind the status bar item.
import * as vscode from "vscode";
import { explainFinding, previewFix, type Unresolved } from "./actions";
import type { Server } from "./client";
import { Chat } from "./chat";
import type { Finding } from "./conversation";
import { switchModel } from "./models";
import { Pause } from "./pause";
import { Previews } from "./preview";
import { reviewChanges, reviewFile } from "./review";
import { SetUp } from "./setup";
import { showStatistics } from "./statistics";
import { StatusItem } from "./status";
import { type Target, write } from "./write";

interface Entry extends vscode.QuickPickItem {
  command: string;
}

export function registerMenu(
  context: vscode.ExtensionContext, server: Promise<Server>, log: vscode.LogOutputChannel, status: StatusItem,
  pause: Pause,
): void {
  const previews = new Previews();
  const chat = new Chat(context.extensionUri, server, previews);
  context.subscriptions.push(previews, chat);
  const setUp = server.then((made) => new SetUp(context, made));
  setUp.then((made) => made.showAtFirst()).catch((error) => log.warn(String(error)));
  const commands: Record<string, (...args: any[]) => unknown> = {
    "cambium.restart": async () => (await server).restart(),
    "cambium.toggle": () => pause.setEnabled(!pause.enabled),
    "cambium.pause": () => pause.forAnHour(),
    "cambium.toggleLanguage": () => {
      const language = vscode.window.activeTextEditor?.document.languageId;
      if (language) return pause.toggleLanguage(language);
      return vscode.window.showInformationMessage(vscode.l10n.t("Open a file of the language first."));
    },
    "cambium.freeMemory": async () => (await server).execute("cambium.unload"),
    "cambium.acceptNode": async () => (await server).suggestions.acceptNode(),
    "cambium.switchModel": () => switchModel(context),
    "cambium.openChat": () => vscode.commands.executeCommand("cambium.chat.focus"),
    "cambium.clearChat": () => chat.clear(),
    "cambium.explainSelection": (target?: Target) => chat.explain(targetOf(target)),
    "cambium.writeComment": async (target?: Target) => write(await server, "comment", targetOf(target)),
    "cambium.writeTests": async (target?: Target) => write(await server, "tests", targetOf(target)),
    "cambium.changeCode": async (target?: Target) => write(await server, "change", targetOf(target)),
    "cambium.explainFinding": (finding?: Finding) => explainFinding(chat, finding),
    "cambium.previewFix": async (fix: Unresolved) => previewFix((await server).running, previews, fix),
    "cambium.acceptPreview": () => previews.accept(),
    "cambium.discardPreview": () => previews.discard(),
    "cambium.setUp": async (role?: string) => (await setUp).show(role),
    "cambium.reviewFile": async () => reviewFile(await server),
    "cambium.reviewChanges": async () => reviewChanges(await server),
    "cambium.showStatistics": async () => showStatistics(await server),
    "cambium.showLog": () => log.show(),
    "cambium.menu": () => showMenu(status, pause),
  };
  for (const [name, run] of Object.entries(commands))
    context.subscriptions.push(vscode.commands.registerCommand(name, run));
}

/** A menu of the editor's gives its commands the file, which says less than the cursor does. */
const targetOf = (target?: Target): Target | undefined => (target?.range ? target : undefined);

async function showMenu(status: StatusItem, pause: Pause): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  const entries: Entry[] = [
    pause.enabled
      ? { label: `$(debug-pause) ${vscode.l10n.t("Pause for an hour")}`, command: "cambium.pause" }
      : { label: `$(play) ${vscode.l10n.t("Turn completions on")}`, command: "cambium.toggle" },
    ...(pause.enabled
      ? [{ label: `$(circle-slash) ${vscode.l10n.t("Turn completions off")}`, command: "cambium.toggle" }]
      : []),
    ...(language
      ? [{ label: `$(file-code) ${vscode.l10n.t("On or off for {0}", language)}`, command: "cambium.toggleLanguage" }]
      : []),
    { label: `$(comment-discussion) ${vscode.l10n.t("Chat")}`, command: "cambium.openChat" },
    { label: `$(question) ${vscode.l10n.t("Explain what is selected")}`, command: "cambium.explainSelection" },
    { label: `$(comment) ${vscode.l10n.t("Write a comment")}`, command: "cambium.writeComment" },
    { label: `$(beaker) ${vscode.l10n.t("Write tests")}`, command: "cambium.writeTests" },
    { label: `$(edit) ${vscode.l10n.t("Change the code")}`, command: "cambium.changeCode" },
    { label: `$(checklist) ${vscode.l10n.t("Review this file")}`, command: "cambium.reviewFile" },
    { label: `$(git-compare) ${vscode.l10n.t("Review what is not committed")}`, command: "cambium.reviewChanges" },
    { label: `$(chip) ${vscode.l10n.t("Switch the model")}`, command: "cambium.switchModel" },
    { label: `$(rocket) ${vscode.l10n.t("Set up models")}`, command: "cambium.setUp" },
    { label: `$(graph) ${vscode.l10n.t("Statistics")}`, command: "cambium.showStatistics" },
    { label: `$(trash) ${vscode.l10n.t("Free the model's memory")}`, command: "cambium.freeMemory" },
    { label: `$(output) ${vscode.l10n.t("Show the log")}`, command: "cambium.showLog" },
    { label: `$(debug-restart) ${vscode.l10n.t("Restart the server")}`, command: "cambium.restart" },
  ];
  const { message, model } = status.current;
  const picked = await vscode.window.showQuickPick(entries, {
    title: "Cambium",
    placeHolder: message || model,
  });
  if (picked) await vscode.commands.executeCommand(picked.command);
}
