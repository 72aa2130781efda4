// What a model says is data: Markdown without raw HTML, images or links that run anything. Code is coloured
// by the editor's theme.
import hljs from "highlight.js/lib/common";
import MarkdownIt from "markdown-it";

const markdown = new MarkdownIt({ html: false, linkify: false, typographer: false });
// Nothing but the web: the editor asks before it opens a page.
markdown.validateLink = (url) => /^https?:\/\//i.test(url);
markdown.renderer.rules["fence"] = (tokens, index) => {
  const token = tokens[index]!;
  return block(token.content, token.info.trim().split(/\s+/)[0] ?? "");
};
// Said as it was written: the editor fetches no picture.
markdown.renderer.rules["image"] = (tokens, index) => {
  const token = tokens[index]!;
  return markdown.utils.escapeHtml(`![${token.content}](${token.attrGet("src") ?? ""})`);
};
markdown.renderer.rules["code_block"] = (tokens, index) => block(tokens[index]!.content, "");

function block(code: string, language: string): string {
  const known = hljs.getLanguage(language);
  const text = known ? hljs.highlight(code, { language, ignoreIllegals: true }).value : markdown.utils.escapeHtml(code);
  return `<pre data-language="${markdown.utils.escapeHtml(known?.name ?? language)}"><code>${text}</code></pre>`;
}

/** As HTML that runs nothing and fetches nothing. */
export function rendered(text: string): string {
  return markdown.render(text);
}
