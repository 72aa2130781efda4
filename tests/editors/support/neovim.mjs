// Neovim in a terminal, on the demo's inventory.py, whose line 44 opens a loop and ends in a blank.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Terminal } from "./terminal.mjs";
import { until } from "./wait.mjs";

/** The line of the open loop, and what follows it up to the next that the file has. */
export function loop(text) {
  return /for item in (.*)\n([^]*?) {8}return total/.exec(text);
}

export class Neovim extends Terminal {
  /** `lines`: the user's configuration. */
  constructor(home, environment, file, lines) {
    mkdirSync(join(home, ".config", "nvim"), { recursive: true });
    writeFileSync(join(home, ".config", "nvim", "init.lua"), `${lines}
vim.o.number = true
vim.diagnostic.config({ virtual_text = true }) -- the default before 0.11
`);
    super(home, environment, dirname(file), ["nvim", file]);
    this.file = file;
    this.original = readFileSync(file, "utf8");
  }

  /** Runs a command, without its colon. */
  command(text) {
    this.keys("Escape");
    this.type(`:${text}`);
    this.keys("Enter");
  }

  /** The process id of the server. */
  server() {
    const pane = Number(this.tmux("display", "-p", "#{pane_pid}"));
    const all = new Map(execFileSync("ps", ["-eo", "pid=,ppid=,comm="], { encoding: "utf8" }).trim().split("\n")
      .map((line) => line.trim().split(/\s+/)).map(([pid, parent, name]) => [Number(pid), { parent: Number(parent), name }]));
    // From Neovim 0.9 on the terminal's process is a child's window: the server is a grandchild of the pane.
    const below = (pid) => pid === pane || (all.has(pid) && below(all.get(pid).parent));
    return [...all.keys()].find((pid) => all.get(pid).name === "cambium" && below(pid));
  }

  /** Kills the server, does `next`, and waits for another one. */
  async killServer(next = async () => {}) {
    const first = this.server();
    process.kill(first, "SIGKILL");
    await next();
    await until("another server", () => {
      // From 0.10 on Neovim says that a client has quit, and nothing happens until that is read.
      if (/Press ENTER/.test(this.screen())) this.keys("Enter");
      return ![undefined, first].includes(this.server());
    });
  }

  /** Saves, and returns what the file then holds. */
  saved(path = this.file) {
    const before = readFileSync(path, "utf8");
    this.command("w");
    return until("the file is written", () => {
      const now = readFileSync(path, "utf8");
      return now !== before && now;
    });
  }

  /** Opens the file anew, and types the last blank of line 44 again; what then stands there is ghost text. */
  async suggestion() {
    writeFileSync(this.file, this.original);
    this.command(`e! ${this.file}`);
    this.command("44");
    this.type("zz");
    // What an earlier test accepted looks like ghost text until the file is there anew.
    await this.waitFor(/for item in *\n/, "the line without what was accepted");
    this.type("A");
    this.keys("BSpace");
    this.type(" ");
    await this.waitFor(/for item in \S+/, "ghost text");
    await this.waitFor(/for item in .*\n(?:.*\S.*\n){1,6}?.*return total/, "its second line");
  }
}
