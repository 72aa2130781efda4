// The README's lines for an editor: what its readers do, the tests do.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./places.mjs";

/** The first code block in `language` after the words `**EDITOR**`. */
export function readmeLines(editor, language) {
  const text = readFileSync(join(root, "README.md"), "utf8");
  const after = text.slice(text.indexOf(`**${editor}**`));
  const block = new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, "m").exec(after);
  if (!after.startsWith("**") || !block) throw new Error(`README.md has no ${language} lines for ${editor}`);
  return block[1].replaceAll("/path/to/cambium", root);
}
