// The commands, and the menu behind the status bar item.
import * as vscode from "vscode";
import { Server } from "./client";
import { Pause } from "./pause";
import { StatusItem } from "./status";

interface Entry extends vscode.QuickPickItem {
  command: string;
}

export function registerMenu(
  context: vscode.ExtensionContext, server: Server, status: StatusItem, pause: Pause,
): void {
  const commands: Record<string, () => unknown> = {
    "cambium.restart": () => server.restart(),
    "cambium.toggle": () => pause.setEnabled(!pause.enabled),
    "cambium.pause": () => pause.forAnHour(),
    "cambium.toggleLanguage": () => {
      const language = vscode.window.activeTextEditor?.document.languageId;
      if (language) return pause.toggleLanguage(language);
      return vscode.window.showInformationMessage(vscode.l10n.t("Open a file of the language first."));
    },
    "cambium.freeMemory": () => freeMemory(server),
    "cambium.showLog": () => server.log.show(),
    "cambium.menu": () => showMenu(status, pause),
  };
  for (const [name, run] of Object.entries(commands))
    context.subscriptions.push(vscode.commands.registerCommand(name, run));
}

async function freeMemory(server: Server): Promise<void> {
  const client = server.running;
  if (!client) {
    void vscode.window.showInformationMessage(vscode.l10n.t("The Cambium server is not running."));
    return;
  }
  await client.sendRequest("workspace/executeCommand", { command: "cambium.unload", arguments: [] });
}

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
    { label: `$(trash) ${vscode.l10n.t("Free the model's memory")}`, command: "cambium.freeMemory" },
    { label: `$(output) ${vscode.l10n.t("Show the log")}`, command: "cambium.showLog" },
    { label: `$(debug-restart) ${vscode.l10n.t("Restart the server")}`, command: "cambium.restart" },
  ];
  const { message, model } = status.current;
  const picked = await vscode.window.showQuickPick(entries, {
    title: "Cambium",
    placeHolder: [model, message].filter(Boolean).join(" · "),
  });
  if (picked) await vscode.commands.executeCommand(picked.command);
}
