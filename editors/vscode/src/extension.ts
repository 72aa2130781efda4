// Wires the pieces: the server, the status item, the commands.
import * as vscode from "vscode";
import { Server } from "./client";
import { registerMenu } from "./menu";
import { Pause } from "./pause";
import { restartKeys } from "./settings";
import { StatusItem } from "./status";

let server: Server | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("Cambium", { log: true });
  const status = new StatusItem();
  server = new Server(context, status, log);
  const pause = new Pause(status);
  context.subscriptions.push(log, status, server, pause);
  registerMenu(context, server, status, pause);
  context.subscriptions.push(
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (restartKeys.some((key) => change.affectsConfiguration(`cambium.${key}`))) void server?.restart();
    }),
  );
  // Not awaited: the editor's start-up does not wait for the server's.
  void server.start();
}

export async function deactivate(): Promise<void> {
  await server?.stop();
}
