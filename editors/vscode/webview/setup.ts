// The page where models are set up: tells what was filled in, and shows what came of it.
import { element, host, pageState } from "./host";

type Strings = Record<
  "title" | "lead" | "now" | "bundled" | "nobody" | "remove" | "role" | "completion" | "general" | "reasoning" |
  "file" | "choose" | "use" | "pull" | "url" | "sha256" | "download" | "stop" | "endpoint" | "endpointUrl" | "name" |
  "keyEnv" | "leaves", string>;
type Card = "file" | "pull" | "endpoint";
type Role = "completion" | "general" | "reasoning";

interface State {
  roles: Partial<Record<Role, { name: string; where: string }>>;
  files: { path: string; used: boolean; problem: string; bytes?: number; name?: string }[];
}

type Told =
  | { type: "state"; state: State }
  | { type: "role"; role?: Role }
  | { type: "begun"; card: Card }
  | { type: "ended"; card: Card; problem?: string }
  | { type: "progress"; done: number; whole: number };

const say = pageState<Strings>();
const roles: Role[] = ["completion", "general", "reasoning"];

const now = element("dl", { class: "now" });
const role = element("select", { id: "role" }, ...roles.map((each) => element("option", { value: each }, say[each])));
const files = element("ul", { class: "files" });
const bar = element("progress", { hidden: true, "aria-label": say.download });
const amount = element("span", { class: "note", role: "status" });
const stop = element("button", { type: "button", class: "secondary", hidden: true, click: () => host.postMessage({ type: "stop" }) }, say.stop);
const problems: Record<Card, HTMLElement> = {
  file: element("p", { class: "problem", role: "alert" }),
  pull: element("p", { class: "problem", role: "alert" }),
  endpoint: element("p", { class: "problem", role: "alert" }),
};

/** `like`: what such a thing looks like. */
function field(name: string, label: string, required: boolean, pattern?: string, like = ""): HTMLElement {
  return element("label", {}, element("span", {}, label),
    element("input", { name, required, placeholder: like, spellcheck: "false", autocomplete: "off", ...(pattern ? { pattern } : {}) }));
}

/** A form that tells its fields under `type`. */
function form(type: Card, button: string, ...parts: Node[]): HTMLFormElement {
  return element("form", { class: "card", "data-card": type, "aria-labelledby": `${type}-title`, submit: (event) => {
    event.preventDefault();
    const fields = Object.fromEntries([...new FormData(event.target as HTMLFormElement)].map(([key, value]) => [key, String(value).trim()]));
    host.postMessage({ type, role: role.value, ...fields });
  } }, element("h2", { id: `${type}-title` }, say[type]), ...parts,
  element("div", { class: "actions" }, element("button", { type: "submit", class: "primary" }, button), ...(type === "pull" ? [stop, bar, amount] : [])),
  problems[type]);
}

document.body.append(element("main", {},
  element("h1", {}, say.title), element("p", {}, say.lead),
  element("h2", {}, say.now), now,
  element("div", { class: "role" }, element("label", { for: "role" }, say.role), role),
  element("div", { class: "cards" },
    element("section", { class: "card", "aria-labelledby": "file-title" }, element("h2", { id: "file-title" }, say.file), files,
      element("div", { class: "actions" }, element("button", { type: "button", class: "primary",
        click: () => host.postMessage({ type: "choose", role: role.value }) }, say.choose)), problems.file),
    form("pull", say.download, field("url", say.url, true, "https?://.+", "https://…/model.gguf"), field("sha256", say.sha256, false, "[0-9a-fA-F]{64}")),
    form("endpoint", say.use, field("url", say.endpointUrl, true, "https?://.+", "http://127.0.0.1:8000/v1"), field("name", say.name, true),
      field("keyEnv", say.keyEnv, false, "[A-Za-z_][A-Za-z0-9_]*"), element("p", { class: "note" }, say.leaves)))));

const megabytes = (bytes: number): string => `${(bytes / 1e6).toLocaleString(undefined, { maximumFractionDigits: 1 })} MB`;

const name = (path: string): string => path.split(/[\\/]/).pop() ?? path;

function show(state: State): void {
  now.replaceChildren(...roles.flatMap((each) => {
    const model = state.roles[each];
    const used = state.files.find((file) => file.used);
    const what = model ? `${model.name} · ${model.where}` : each !== "completion" ? say.nobody : used?.name ?? say.bundled;
    return [element("dt", {}, say[each]), element("dd", model || each === "completion" ? {} : { class: "note" }, what,
      ...(model ? [element("button", { type: "button", class: "link", "aria-label": `${say.remove}: ${say[each]}`,
        click: () => host.postMessage({ type: "none", role: each }) }, say.remove)] : []))];
  }));
  // One file may lie in two places, the packed one beside the one it was built from.
  const same = (one: State["files"][number], other: State["files"][number]): boolean =>
    one.bytes === other.bytes && name(one.path) === name(other.path);
  const usable = state.files.filter(({ problem }) => problem === "");
  files.replaceChildren(...usable.filter((file, at) => usable.findIndex((each) => same(each, file)) === at).map((file) =>
    element("li", {}, element("span", { class: "path", title: file.path }, name(file.path)),
      element("span", { class: "note" }, file.bytes ? megabytes(file.bytes) : ""),
      element("button", { type: "button", class: "link", "aria-label": `${say.use}: ${file.path}`,
        click: () => host.postMessage({ type: "file", role: role.value, path: file.path }) }, say.use))));
}

function pulling(on: boolean): void {
  bar.hidden = stop.hidden = !on;
  document.querySelector<HTMLButtonElement>("form[data-card=pull] button[type=submit]")!.disabled = on;
  if (!on) amount.textContent = "";
  bar.removeAttribute("value");
}

addEventListener("message", ({ data }: MessageEvent<Told>) => {
  switch (data.type) {
    case "state":
      return show(data.state);
    case "role":
      if (data.role) role.value = data.role;
      return;
    case "begun":
      problems[data.card].textContent = "";
      if (data.card === "pull") pulling(true);
      return;
    case "ended":
      problems[data.card].textContent = data.problem ?? "";
      if (data.problem === undefined) document.querySelector<HTMLFormElement>(`form[data-card="${data.card}"]`)?.reset();
      if (data.card === "pull") pulling(false);
      return;
    case "progress":
      if (data.whole > 0) bar.value = data.done / data.whole;
      amount.textContent = data.whole > 0 ? `${megabytes(data.done)} / ${megabytes(data.whole)}` : megabytes(data.done);
  }
});
host.postMessage({ type: "ready" });
