// Wires the pieces: the status item, the commands, the server.
import * as vscode from "vscode";
import type { Server } from "./client";
import { registerMenu } from "./menu";
import { Pause } from "./pause";
import { restartKeys } from "./settings";
import { StatusItem } from "./status";

let server: Promise<Server> | undefined;

/** What a server is started with. */
function launch(): string {
  const config = vscode.workspace.getConfiguration("cambium");
  return JSON.stringify(restartKeys.map((key) => config.get(key)));
}

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("Cambium", { log: true });
  const status = new StatusItem();
  const report = (error: unknown): void => status.set({ state: "problem", message: String(error) });
  // The language client is most of the code: it is read after the editor has started, not while.
  const started = import("./client.js").then(({ Server }) => {
    const made = new Server(context, status, log);
    context.subscriptions.push(made);
    made.start().catch(report);
    return made;
  });
  started.catch(report);
  server = started;
  const pause = new Pause(status);
  context.subscriptions.push(log, status, pause);
  registerMenu(context, started, log, status, pause);
  let launched = launch();
  context.subscriptions.push(
    vscode.workspace.onDidChangeConfiguration(async (change) => {
      // A workspace that becomes trusted is told as a change of settings that it can't change.
      if (!change.affectsConfiguration("cambium") || launch() === launched) return;
      launched = launch();
      await (await started).restart();
    }),
  );
}

export async function deactivate(): Promise<void> {
  await (await server)?.stop();
}
