// The chat's page: draws the turns it is told of, and tells what was pressed.
import { element, filled, host, pageState } from "./host";
import { rendered } from "./markdown";

type Strings = Record<
  "placeholder" | "ask" | "stop" | "conversation" | "you" | "model" | "thinking" | "thought" | "stopped" | "insert" |
  "diff" | "copy" | "copied" | "attached" | "detach" | "attach" | "empty" | "explain" | "setUp", string>;

interface Turn {
  id: number;
  question: string;
  attachment?: string;
  text: string;
  thinking: string;
  state: "running" | "done" | "stopped" | "failed";
  note: string;
  reason: string;
}

type Told =
  | { type: "turn"; turn: Turn }
  | { type: "piece"; id: number; kind: "text" | "thinking"; text: string }
  | { type: "attachment"; label?: string; on: boolean }
  | { type: "clear" | "copied" };

const say = pageState<Strings>();
const turns = new Map<number, { turn: Turn; drawn: HTMLElement }>();

// --- the page ------------------------------------------------------------------------------------

const empty = element("div", { class: "empty" },
  element("p", {}, say.empty),
  element("p", {}, element("button", { type: "button", class: "link", click: () => host.postMessage({ type: "explain" }) }, say.explain)),
  element("p", {}, element("button", { type: "button", class: "link", click: () => host.postMessage({ type: "setUp" }) }, say.setUp)));
const log = element("div", { class: "log", role: "log", "aria-label": say.conversation, tabindex: "0" });
const status = element("div", { class: "unseen", role: "status" });
const attachment = element("div", { class: "attachment" });
const input = element("textarea", {
  rows: "1", placeholder: say.placeholder, "aria-label": say.placeholder, input: grown, keydown: (event) => key(event as KeyboardEvent),
});
const send = element("button", { type: "submit", class: "primary" }, say.ask);
const stop = element("button", { type: "button", class: "secondary", hidden: true, click: cancel }, say.stop);
const form = element("form", { submit: ask }, attachment, input, element("div", { class: "send" }, stop, send));
document.body.append(element("main", {}, empty, log), status, form);

/** As tall as what is in it; the style says how tall at most. */
function grown(): void {
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight + 2}px`;
  host.setState({ draft: input.value });
}

function running(): Turn | undefined {
  return [...turns.values()].map(({ turn }) => turn).find(({ state }) => state === "running");
}

function ask(event: Event): void {
  event.preventDefault();
  const text = input.value.trim();
  if (text === "" || running()) return;
  input.value = "";
  grown();
  host.postMessage({ type: "ask", text });
}

function cancel(): void {
  host.postMessage({ type: "cancel" });
  input.focus();
}

function key(event: KeyboardEvent): void {
  if (event.isComposing) return; // Enter chooses a word of an input method
  if (event.key === "Enter" && !event.shiftKey) ask(event);
  else if (event.key === "Escape" && running()) cancel();
}

// --- turns ---------------------------------------------------------------------------------------

/** The button whose block is on its way to the clipboard. */
let copying: HTMLButtonElement | undefined;

/** Says so on the button until it is left. */
function copied(): void {
  const button = copying;
  copying = undefined;
  if (!button) return;
  button.textContent = status.textContent = say.copied;
  button.addEventListener("blur", () => (button.textContent = say.copy), { once: true });
}

function blockActions(turn: Turn, pre: HTMLPreElement): HTMLElement {
  const text = pre.textContent ?? "";
  const action = (type: "insert" | "diff" | "copy", label: string): HTMLButtonElement => {
    const button = element("button", { type: "button", click: () => {
      host.postMessage({ type, turn: turn.id, text });
      if (type === "copy") copying = button;
    } }, label);
    return button;
  };
  return element("div", { class: "actions" },
    element("span", { class: "language" }, pre.dataset["language"] ?? ""),
    action("insert", say.insert), action("diff", say.diff), action("copy", say.copy));
}

function withActions(turn: Turn, body: HTMLElement): void {
  for (const pre of body.querySelectorAll("pre")) {
    const frame = element("div", { class: "block" });
    pre.replaceWith(frame);
    pre.tabIndex = 0; // scrolls sideways by the keyboard
    frame.append(blockActions(turn, pre), pre);
  }
}

function draw(turn: Turn, into: HTMLElement): void {
  const open = into.querySelector<HTMLDetailsElement>("details")?.open ?? false;
  const body = element("div", { class: "answer" });
  body.innerHTML = rendered(turn.text);
  // While it is written, a block ends where the text does: there is nothing to take yet.
  if (turn.state !== "running") withActions(turn, body);
  const parts: HTMLElement[] = [
    element("div", { class: "question" }, element("h2", {}, say.you), element("p", {}, turn.question),
      ...(turn.attachment && !turn.question.includes(turn.attachment) ? [element("p", { class: "place" }, turn.attachment)] : [])),
    element("h2", {}, say.model),
  ];
  if (turn.thinking) {
    const thought = element("div", { class: "thought" });
    thought.innerHTML = rendered(turn.thinking);
    parts.push(element("details", { open }, element("summary", {}, say.thought), thought));
  }
  if (turn.state === "running" && !turn.text) parts.push(element("p", { class: "waiting" }, say.thinking));
  parts.push(body);
  if (turn.state === "stopped") parts.push(element("p", { class: "note" }, say.stopped));
  else if (turn.state === "failed") {
    parts.push(element("p", { class: "problem", role: "alert" }, turn.note),
      element("p", {}, element("button", { type: "button", class: "link", click: () => host.postMessage({ type: "setUp" }) }, say.setUp)));
  } else if (turn.note) parts.push(element("p", { class: "note", title: turn.reason }, turn.note));
  into.replaceChildren(...parts);
  // A reader of the screen hears the answer when it is whole, not word by word.
  into.setAttribute("aria-busy", String(turn.state === "running"));
}

const due = new Set<number>();

/** Draws the turn once before the next frame, however many pieces come till then. */
function drawSoon(id: number): void {
  if (due.size === 0) requestAnimationFrame(() => {
    const main = document.querySelector("main")!;
    const follows = main.scrollHeight - main.scrollTop - main.clientHeight < 40;
    for (const each of due) {
      const known = turns.get(each);
      if (known) draw(known.turn, known.drawn);
    }
    due.clear();
    if (follows) main.scrollTop = main.scrollHeight;
  });
  due.add(id);
}

function tellState(): void {
  const busy = running() !== undefined;
  empty.hidden = turns.size > 0;
  stop.hidden = !busy;
  send.hidden = busy;
  status.textContent = busy ? say.thinking : "";
}

function show(turn: Turn): void {
  const known = turns.get(turn.id);
  if (known) known.turn = turn;
  else {
    const drawn = element("article", {});
    turns.set(turn.id, { turn, drawn });
    log.append(drawn);
    draw(turn, drawn);
    drawn.scrollIntoView({ block: "end" });
  }
  drawSoon(turn.id);
  tellState();
}

function showAttachment(label: string | undefined, on: boolean): void {
  const held = attachment.contains(document.activeElement);
  if (!label) attachment.replaceChildren();
  else if (on) {
    attachment.replaceChildren(element("span", { class: "chip", title: filled(say.attached, label) }, element("span", {}, label),
      element("button", { type: "button", title: say.detach, "aria-label": `${say.detach}: ${label}`,
        click: () => host.postMessage({ type: "attach", on: false }) }, "×")));
  } else {
    attachment.replaceChildren(element("button", { type: "button", class: "link",
      click: () => host.postMessage({ type: "attach", on: true }) }, `+ ${filled(say.attach, label)}`));
  }
  if (held) attachment.querySelector("button")?.focus();
}

addEventListener("message", ({ data }: MessageEvent<Told>) => {
  switch (data.type) {
    case "turn":
      return show(data.turn);
    case "piece": {
      const known = turns.get(data.id);
      if (!known) return;
      known.turn[data.kind] += data.text;
      return drawSoon(data.id);
    }
    case "attachment":
      return showAttachment(data.label, data.on);
    case "copied":
      return copied();
    case "clear":
      turns.clear();
      log.replaceChildren();
      tellState();
      if (document.hasFocus()) input.focus(); // whoever is elsewhere by now stays there
  }
});
addEventListener("focus", () => {
  if (document.activeElement === document.body) input.focus();
});

input.value = (host.getState() as { draft?: string } | undefined)?.draft ?? "";
grown();
tellState();
host.postMessage({ type: "ready" });
