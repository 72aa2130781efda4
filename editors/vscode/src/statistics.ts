// What became of the suggestions of this server process, as a small chart.
import * as vscode from "vscode";
import type { Server } from "./client";
import { escaped } from "./html";

/** The result of the server's command cambium.stats, as far as it is drawn. */
export interface Statistics {
  suggested: number;
  shown: number;
  accepted: number;
  partiallyAccepted: number;
  suggestedCharacters: number;
  acceptedCharacters: number;
  latencyMs: { p50: number; p95: number };
  tokens: { prompt: number; reused: number; generated: number };
}

interface Bar {
  label: string;
  /** Missing: nobody knows yet. */
  value: number | undefined;
}

/** A value for people, as long as it says something. */
function shown(value: number | undefined, unit: string): string {
  if (value === undefined) return "–";
  return (value > 0 && value < 1 ? "<1" : Math.round(value).toLocaleString(vscode.env.language)) + unit;
}

/** A page without scripts: bars are widths. `lead` says what is counted. */
export function page(title: string, lead: string, groups: { title: string; unit: string; bars: Bar[] }[]): string {
  const drawn = groups.map(({ title: heading, unit, bars }) => {
    const most = Math.max(1, ...bars.map(({ value }) => value ?? 0));
    const rows = bars.map(({ label, value }) =>
      `<tr><th>${escaped(label)}</th><td><svg width="100%" height="12" aria-hidden="true">` +
      `<rect width="${((100 * (value ?? 0)) / most).toFixed(1)}%" height="12" rx="2"/></svg></td>` +
      `<td class="n">${escaped(shown(value, unit))}</td></tr>`);
    return `<h2>${escaped(heading)}</h2><table>${rows.join("")}</table>`;
  });
  return `<!DOCTYPE html><html lang="${escaped(vscode.env.language)}"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title><style>
body { font: var(--vscode-font-weight) var(--vscode-font-size) var(--vscode-font-family); max-width: 44em; padding: 0 1.5em }
h1 { font-size: 1.4em; font-weight: 500 } p { color: var(--vscode-descriptionForeground); margin: -.4em 0 0 } h2 { font-size: 1em; font-weight: 600; margin: 1.6em 0 .4em }
table { width: 100%; border-spacing: 0 .3em } th { font-weight: inherit; text-align: left; width: 16em }
td { vertical-align: middle } .n { text-align: right; width: 6em; font-variant-numeric: tabular-nums }
rect { fill: var(--vscode-charts-blue, var(--vscode-progressBar-background)) }
</style></head><body><h1>${escaped(title)}</h1><p>${escaped(lead)}</p>${drawn.join("")}</body></html>`;
}

function drawn(s: Statistics): string {
  const t = vscode.l10n.t;
  const time = (value: number): number | undefined => (s.suggested > 0 ? value : undefined);
  return page(t("Cambium: Statistics"), t("Since the server started."), [
    { title: t("Suggestions"), unit: "", bars: [
      { label: t("Shown"), value: s.shown },
      { label: t("Accepted"), value: s.accepted },
      { label: t("Accepted in part"), value: s.partiallyAccepted },
    ] },
    { title: t("Characters"), unit: "", bars: [
      { label: t("Suggested"), value: s.suggestedCharacters },
      { label: t("Kept"), value: s.acceptedCharacters },
    ] },
    { title: t("Time to a suggestion"), unit: " ms", bars: [
      { label: t("Half of them within"), value: time(s.latencyMs.p50) },
      { label: t("19 of 20 within"), value: time(s.latencyMs.p95) },
    ] },
    { title: t("Tokens"), unit: "", bars: [
      { label: t("In prompts"), value: s.tokens.prompt },
      { label: t("Of these, not computed again"), value: s.tokens.reused },
      { label: t("Generated"), value: s.tokens.generated },
    ] },
  ]);
}

let panel: vscode.WebviewPanel | undefined;

export async function showStatistics(server: Server): Promise<void> {
  const statistics = await server.execute<Statistics>("cambium.stats");
  if (!statistics) return;
  if (!panel) {
    panel = vscode.window.createWebviewPanel("cambium.statistics", vscode.l10n.t("Cambium: Statistics"),
      vscode.ViewColumn.Beside, {});
    panel.onDidDispose(() => (panel = undefined));
  }
  panel.webview.html = drawn(statistics);
  panel.reveal();
}
