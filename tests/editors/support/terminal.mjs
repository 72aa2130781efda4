// A program in a terminal: tmux gives it one, types into it and reads its screen.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { artefacts, inSystem } from "./places.mjs";
import { until } from "./wait.mjs";

export class Terminal {
  /** `command`: words. The server of this tmux is its own, so that the user's is left alone. */
  constructor(home, environment, folder, command) {
    this.socket = join(home, "tmux");
    this.environment = environment;
    this.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "32", "-c", folder,
      ...Object.entries(environment).flatMap(([name, value]) => ["-e", `${name}=${value}`]), ...inSystem(command));
    this.tmux("set", "-g", "escape-time", "0");
  }

  tmux(...words) {
    return execFileSync("tmux", ["-S", this.socket, ...words], { env: this.environment, encoding: "utf8" });
  }

  /** tmux's names of keys: "Escape", "Tab", "C-x", "Enter". */
  keys(...names) {
    this.tmux("send-keys", ...names);
  }

  type(text) {
    this.tmux("send-keys", "-l", text);
  }

  screen(colours = false) {
    return this.tmux("capture-pane", "-p", ...(colours ? ["-e"] : []));
  }

  waitFor(pattern, what = String(pattern)) {
    return until(`${what} on the screen`, () => {
      const screen = this.screen();
      if (pattern.test(screen)) return screen;
      throw new Error(`the screen is\n${screen}`);
    });
  }

  /** Keeps the screen, as text with its colours. */
  keep(name) {
    writeFileSync(join(artefacts, `${name}.ansi`), this.screen(true));
  }

  stop() {
    this.tmux("kill-server");
  }
}
