// The frame of a page with a script of ours in it. Nothing is fetched but that script and its style, and no
// other script runs, whatever a model writes.
import { randomBytes } from "node:crypto";
import * as vscode from "vscode";
import { escaped } from "./html";

/** `name`: of the script and the style in dist/webview. `state` is handed to the script. */
export function scriptedPage(
  webview: vscode.Webview, extension: vscode.Uri, name: string, title: string, state: unknown,
): string {
  const nonce = randomBytes(18).toString("base64");
  const file = (kind: string): string =>
    webview.asWebviewUri(vscode.Uri.joinPath(extension, "dist", "webview", `${name}.${kind}`)).toString();
  return `<!DOCTYPE html><html lang="${escaped(vscode.env.language)}"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src ${webview.cspSource}; script-src 'nonce-${nonce}'">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title><link rel="stylesheet" href="${escaped(file("css"))}"></head>
<body data-state="${escaped(JSON.stringify(state))}"><script nonce="${nonce}" src="${escaped(file("js"))}"></script></body></html>`;
}

/** What such a page may load. */
export function pageOptions(extension: vscode.Uri): vscode.WebviewOptions {
  return { enableScripts: true, localResourceRoots: [vscode.Uri.joinPath(extension, "dist", "webview")] };
}
