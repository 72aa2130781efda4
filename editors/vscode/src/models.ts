// Another model: the one that comes with Cambium, one used before, or a file that the user picks.
import * as vscode from "vscode";

const remembered = "models";
const most = 8;

/** `file` first, then the others without it. */
export function withRecent(files: readonly string[], file: string): string[] {
  return [file, ...files.filter((each) => each !== file)].slice(0, most);
}

export async function switchModel(context: vscode.ExtensionContext): Promise<void> {
  const config = vscode.workspace.getConfiguration("cambium");
  const now = config.get("model", "");
  const recent = context.globalState.get<string[]>(remembered, []);
  const known = now ? withRecent(recent, now) : recent;
  const entries: (vscode.QuickPickItem & { file?: string })[] = [
    { label: vscode.l10n.t("The model that comes with Cambium"), file: "", picked: now === "" },
    ...known.map((file) => ({ label: file.split(/[\\/]/).pop() ?? file, description: file, file })),
    { label: `$(folder-opened) ${vscode.l10n.t("Choose a GGUF file…")}` },
  ];
  const picked = await vscode.window.showQuickPick(entries, {
    title: "Cambium", placeHolder: vscode.l10n.t("The model that completes"),
  });
  if (!picked) return;
  let file = picked.file;
  if (file === undefined) {
    const chosen = await vscode.window.showOpenDialog({ canSelectMany: false, filters: { GGUF: ["gguf"] } });
    file = chosen?.[0]?.fsPath;
    if (file === undefined) return;
  }
  if (file) await context.globalState.update(remembered, withRecent(known, file));
  await config.update("model", file || undefined, vscode.ConfigurationTarget.Global);
}
