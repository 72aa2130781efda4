// Whether anything is suggested in the active editor: the settings, and a pause that ends by itself.
import * as vscode from "vscode";
import { StatusItem } from "./status";
import { toggled } from "./settings";

const hour = 3_600_000;

export class Pause implements vscode.Disposable {
  private timer: NodeJS.Timeout | undefined;
  private readonly subscriptions: vscode.Disposable[];

  constructor(private readonly status: StatusItem) {
    this.subscriptions = [
      vscode.window.onDidChangeActiveTextEditor(() => this.refresh()),
      vscode.workspace.onDidChangeConfiguration((change) => {
        if (change.affectsConfiguration("cambium.completion")) this.refresh();
      }),
    ];
    this.refresh();
  }

  private config(): vscode.WorkspaceConfiguration {
    return vscode.workspace.getConfiguration("cambium.completion", vscode.window.activeTextEditor?.document);
  }

  get enabled(): boolean {
    return this.config().get("enabled", true);
  }

  async setEnabled(on: boolean): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    await this.config().update("enabled", on, vscode.ConfigurationTarget.Global);
    this.refresh();
  }

  async forAnHour(): Promise<void> {
    await this.setEnabled(false);
    this.timer = setTimeout(() => void this.setEnabled(true), hour);
    this.refresh();
  }

  private get disabledLanguages(): string[] {
    return this.config().get<string[]>("disabledLanguages", []);
  }

  offFor(language: string): boolean {
    return this.disabledLanguages.includes(language);
  }

  async toggleLanguage(language: string): Promise<void> {
    const languages = toggled(this.disabledLanguages, language);
    await this.config().update("disabledLanguages", languages, vscode.ConfigurationTarget.Global);
  }

  private refresh(): void {
    const language = vscode.window.activeTextEditor?.document.languageId;
    if (this.timer) this.status.setOffHere(vscode.l10n.t("Paused for an hour."));
    else if (!this.enabled) this.status.setOffHere(vscode.l10n.t("Completions are off."));
    else if (language && this.offFor(language))
      this.status.setOffHere(vscode.l10n.t("Completions are off for {0}.", language));
    else this.status.setOffHere(undefined);
  }

  dispose(): void {
    // A pause ends with the window, so that it can't be forgotten for good.
    if (this.timer) void this.setEnabled(true);
    for (const each of this.subscriptions) each.dispose();
  }
}
