// What the server says, in the editor's language. The server speaks English to every client; its findings, the titles
// of its actions, what the status bar shows and what most often goes wrong are made of the sentences below.
import * as vscode from "vscode";

/** {0} and {1} stand for code, for a number, or for another of these. The more special come first. */
export const sentences = [
  "the model loads at first use",
  "the selection",
  "Dismiss: {0}",
  "Fix all {0} of this kind",
  "Write a comment for {0}",
  "Write tests for {0}",
  "Change {0}…",
  "Explain {0}",
  "Insert {0}",
  "Remove {0}",
  "Replace {0} by {1}",
  "Swap the arguments",
  "Expected {0} after {1}.",
  "{0} closes nothing: no bracket before it is open.",
  "{0} is never closed.",
  "The string that begins here is never closed.",
  "The text ends in the middle of something.",
  "{0} does not fit here.",
  "{0}: the code around it fits {1} better than {2}.",
  "This may be the wrong variable",
  "This comparison may go one too far",
  "This comparison may stop one too early",
  "This comparison may be the wrong way round",
  "This may be the wrong operator",
  "These conditions may be joined the wrong way",
  "This number may be off by one",
  "This may be the wrong way round",
  "These arguments look swapped: the code around them fits {0} better.",
  "A {0} may be missing here.",
  "This {0} may be one too many.",
  "An 'await' may be missing before this call.",
  "A 'return' may be missing before this expression.",
  "This repeats what stands before it, but {0} was not changed along: {1} may be meant.",
  'no model that answers in words is configured; give the role "general" or "reasoning" one in models.json',
  "{0} was left out: {1}",
  'this workspace is not trusted; trust it in your editor, or list its folder under "trustedFolders" in your own config.json',
  "the document has changed meanwhile, so nothing was changed; ask again",
  "{0}; nothing was changed",
  "the model answered without a block of code",
] as const;

const patterns = sentences.map((sentence) => ({
  sentence,
  pattern: new RegExp(`^${sentence.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{\d\}/g, "([^]+?)")}$`),
}));

/** The same in the editor's language; what is none of the sentences stays as it is. */
export function translated(said: string): string {
  for (const { sentence, pattern } of patterns) {
    const match = pattern.exec(said);
    if (match) return vscode.l10n.t(sentence, ...match.slice(1).map(translated));
  }
  return said;
}

/** The server's findings among these, in the editor's language; a model's own words are left as they are. */
export function inWords<Kind extends { source?: string; code?: unknown; message: string }>(findings: readonly Kind[]): Kind[] {
  for (const finding of findings)
    if (finding.source === "cambium" && finding.code !== "reasoning/finding") finding.message = translated(finding.message);
  return [...findings];
}
