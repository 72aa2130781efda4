// Which settings travel how. What starts a program or loads a file is machine-scoped and becomes a
// command-line flag: the server does not take such keys from a client, whose user and workspace
// settings arrive merged. Everything else the server asks for by workspace/configuration.

/** The part of vscode.WorkspaceConfiguration that is used here. */
export interface Configuration {
  get<T>(key: string, fallback: T): T;
}

/** Keys whose change needs a new server process. */
export const restartKeys = ["path", "model", "device", "threads", "arguments"] as const;

/** The arguments of `cambium` for these settings. */
export function serverArguments(config: Configuration): string[] {
  const args = ["lsp"];
  const model = config.get("model", "");
  if (model) args.push("--model", model);
  const device = config.get("device", "auto");
  if (device !== "auto") args.push("--device", device);
  const threads = config.get("threads", 0);
  if (threads > 0) args.push("--threads", String(threads));
  return args.concat(config.get<string[]>("arguments", []));
}

/** Of these arguments, those that say where models.json is: `cambium models` has to be told too. */
export function modelsFlags(config: Configuration): string[] {
  const args = config.get<string[]>("arguments", []);
  const at = args.findIndex((each) => each === "--models" || each.startsWith("--models="));
  return at < 0 ? [] : args.slice(at, at + (args[at] === "--models" ? 2 : 1));
}

/** The disabled languages with `language` added or taken out. */
export function toggled(languages: readonly string[], language: string): string[] {
  return languages.includes(language)
    ? languages.filter((each) => each !== language)
    : [...languages, language].sort();
}

/** The settings as the server takes them: without the keys that are flags or the client's own. */
export function forServer(section: unknown): unknown {
  if (typeof section !== "object" || section === null) return section;
  const own: readonly string[] = [...restartKeys, "trace"];
  return Object.fromEntries(Object.entries(section).filter(([key]) => !own.includes(key)));
}
