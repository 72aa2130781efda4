// What both pages have in common: the editor at the other end, and elements made of words.
interface Host {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}
declare function acquireVsCodeApi(): Host;

export const host = acquireVsCodeApi();

/** What the extension put into the page. */
export function pageState<State>(): State {
  return JSON.parse(document.body.dataset["state"] ?? "null") as State;
}

type Attributes = Record<string, string | boolean | ((event: Event) => void)>;

/** An element. What is said is text, never markup; a function is a listener. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name, attributes: Attributes = {}, ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (typeof value === "string") made.setAttribute(key, value);
    else made.toggleAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** "The model is shown {0}" with the thing in it. */
export function filled(text: string, what: string): string {
  return text.replace("{0}", () => what);
}
