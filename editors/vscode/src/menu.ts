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
    "cambium.explainFinding": (finding?: Finding) => explainFinding((each) => chat.explainFinding(each), finding),
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
  const { t } = vscode.l10n;
  const language = vscode.window.activeTextEditor?.document.languageId;
  const entry = (icon: string, label: string, command: string): Entry => ({ label: `$(${icon}) ${label}`, command });
  /** What asks for an open file is there where one is. */
  const withFile = (...entries: Entry[]): Entry[] => (language ? entries : []);
  const groups: [string, Entry[]][] = [
    [t("Completion"), [
      ...(pause.enabled
        ? [entry("debug-pause", t("Pause for an hour"), "cambium.pause"), entry("circle-slash", t("Turn completions off"), "cambium.toggle")]
        : [entry("play", t("Turn completions on"), "cambium.toggle")]),
      ...withFile(entry("file-code", language && pause.offFor(language)
        ? t("Turn on for {0}", language) : t("Turn off for {0}", language ?? ""), "cambium.toggleLanguage")),
    ]],
    [t("Review"), [
      ...withFile(entry("checklist", t("Review this file"), "cambium.reviewFile")),
      entry("git-compare", t("Review what is not committed"), "cambium.reviewChanges"),
    ]],
    [t("Chat"), [
      entry("comment-discussion", t("Open the chat"), "cambium.openChat"),
      ...withFile(
        entry("question", t("Explain what is selected"), "cambium.explainSelection"),
        entry("comment", t("Write a comment"), "cambium.writeComment"),
        entry("beaker", t("Write tests"), "cambium.writeTests"),
        entry("edit", t("Change the code"), "cambium.changeCode")),
    ]],
    [t("Models"), [
      entry("chip", t("Switch the model"), "cambium.switchModel"),
      entry("rocket", t("Set up models"), "cambium.setUp"),
      entry("trash", t("Free the model's memory"), "cambium.freeMemory"),
    ]],
    [t("Server"), [
      entry("graph", t("Statistics"), "cambium.showStatistics"),
      entry("output", t("Show the log"), "cambium.showLog"),
      entry("debug-restart", t("Restart the server"), "cambium.restart"),
    ]],
  ];
  const entries = groups.flatMap(([label, group]): (Entry | vscode.QuickPickItem)[] =>
    [{ label, kind: vscode.QuickPickItemKind.Separator }, ...group]);
  const picked = await vscode.window.showQuickPick(entries, { title: "Cambium", placeHolder: status.said });
  if (picked && "command" in picked) await vscode.commands.executeCommand(picked.command);
}
