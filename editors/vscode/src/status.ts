// The status bar item: what the server says of itself (`cambium/status`), in one place.
import * as vscode from "vscode";
import { translated } from "./words";

export type State = "starting" | "ready" | "loading" | "busy" | "off" | "problem";

/** Parameters of the notification `cambium/status`. */
export interface ServerStatus {
  state: State;
  message?: string;
  model?: string;
  /** 0..1 while loading. */
  progress?: number;
}

/** Text of the item for a status; the icon names are the editor's. */
export function label(status: ServerStatus): string {
  switch (status.state) {
    case "ready":
      return "$(sparkle) Cambium";
    case "starting":
      return "$(loading~spin) Cambium";
    case "loading":
      return status.progress === undefined
        ? "$(loading~spin) Cambium"
        : `$(loading~spin) Cambium ${Math.round(status.progress * 100)} %`;
    case "busy":
      return "$(sync~spin) Cambium";
    case "off":
      return "$(circle-slash) Cambium";
    case "problem":
      return "$(warning) Cambium";
  }
}

/** What there is to say. When ready, the message says what the model is and, after a dot, where it runs. */
function lines({ state, message, model }: ServerStatus): string[] {
  const [first, ...device] = (message ?? "").split(" · ");
  if (state === "ready" && device.length > 0)
    return [vscode.l10n.t("Model: {0}", first ?? ""), vscode.l10n.t("Device: {0}", device.join(" · "))];
  return [translated(message ?? ""), model ? vscode.l10n.t("Model: {0}", model) : ""].filter(Boolean);
}

export class StatusItem implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private server: ServerStatus = { state: "starting" };
  private offHere: string | undefined;

  constructor() {
    this.item = vscode.window.createStatusBarItem("cambium.status", vscode.StatusBarAlignment.Right, 100);
    this.item.name = "Cambium";
    this.item.command = "cambium.menu";
    this.show();
    this.item.show();
  }

  /** The same as the tooltip, in one line. */
  get said(): string {
    return lines(this.current).join(" · ");
  }

  private get current(): ServerStatus {
    return this.offHere !== undefined && this.server.state !== "problem"
      ? { ...this.server, state: "off", message: this.offHere }
      : this.server;
  }

  set(status: ServerStatus): void {
    this.server = status;
    this.show();
  }

  /** Why nothing is suggested in the active editor, or undefined. */
  setOffHere(reason: string | undefined): void {
    this.offHere = reason;
    this.show();
  }

  private show(): void {
    const status = this.current;
    this.item.text = label(status);
    const tooltip = new vscode.MarkdownString();
    tooltip.appendMarkdown("**Cambium**\n\n");
    for (const line of lines(status)) tooltip.appendText(line).appendMarkdown("\n\n");
    this.item.tooltip = tooltip;
    // A screen reader would say the tooltip's asterisks.
    this.item.accessibilityInformation = { label: ["Cambium", ...lines(status)].join(", ") };
    this.item.backgroundColor =
      status.state === "problem" ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
  }

  dispose(): void {
    this.item.dispose();
  }
}
