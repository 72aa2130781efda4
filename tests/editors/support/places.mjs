// Where things are, and a home of their own for the editors under test.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const here = dirname(dirname(fileURLToPath(import.meta.url)));
export const root = dirname(dirname(here));
export const binary = process.env.CAMBIUM_BIN ?? join(root, "build", "release", "lsp", "cambium");
/** Screenshots and the logs of what failed; kept after the run. */
export const artefacts = join(root, "build", "editors");
mkdirSync(artefacts, { recursive: true });

/** A folder with another system in it, whose editors are driven in place of this system's. */
const system = process.env.CAMBIUM_EDITOR_SYSTEM;

/**
 * The words that run `command` in that system, or as they are where there is none. It sees the checkout and the
 * temporary files where they are here. The mounts are a namespace's, which ends with the command.
 */
export function inSystem(command) {
  if (!system) return command;
  const shared = ["/dev", "/proc", tmpdir(), root];
  const mounts = shared.map((path) => `mkdir -p '${system}${path}' && mount --rbind '${path}' '${system}${path}'`);
  return ["unshare", "--mount", "sh", "-c",
    `${mounts.join(" && ")} && exec chroot '${system}' sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"`, "sh", ...command];
}

/** A folder that goes away with the process. */
export function temporary(name) {
  const folder = mkdtempSync(join(tmpdir(), `cambium-${name}-`));
  process.on("exit", () => remove(folder));
  return folder;
}

/**
 * An editor that was told to end may still write its state while its folder is emptied. rmSync's own retries
 * try the folder again but never look for files that came meanwhile, so the whole removal is tried again.
 */
function remove(folder) {
  for (let left = 50; ; --left) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if (error.code !== "ENOTEMPTY" || left === 0) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  }
}

/** A workspace with the files of `./dev demo`, as a git repository. */
export function demoWorkspace(parent) {
  const folder = join(parent, "shop");
  cpSync(join(root, "lsp", "cli", "demo"), folder, { recursive: true });
  for (const other of ["run", ".clang-format"]) rmSync(join(folder, other));
  execFileSync("git", ["init", "-q", folder]);
  return folder;
}

/**
 * What every editor under test starts with: nothing of the machine's user but PATH and the language.
 * The server's log goes to the artefacts.
 */
export function environment(home, name, extra = {}) {
  const log = { "log.level": "debug", "log.file": join(artefacts, `${name}-server.log`) };
  rmSync(log["log.file"], { force: true });
  mkdirSync(join(home, ".config", "cambium"), { recursive: true });
  writeFileSync(join(home, ".config", "cambium", "config.json"), JSON.stringify(log));
  return {
    PATH: process.env.PATH, HOME: home, LANG: "C.UTF-8", TERM: "xterm-256color", SHELL: "/bin/sh",
    XDG_CONFIG_HOME: join(home, ".config"), XDG_DATA_HOME: join(home, ".local", "share"),
    XDG_STATE_HOME: join(home, ".local", "state"), XDG_CACHE_HOME: join(home, ".cache"),
    XDG_RUNTIME_DIR: home, ...extra,
  };
}
