// Where the server program is: the setting, the copy packed into the extension, PATH.
import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";

export interface Places {
  /** `cambium.path`, or empty. */
  setting: string;
  extensionFolder: string;
  /** The PATH variable. */
  path: string;
  windows: boolean;
}

export type Found = { program: string } | { problem: "setting" | "missing"; looked: string[] };

function runs(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

export function findServer(places: Places): Found {
  const name = places.windows ? "cambium.exe" : "cambium";
  if (places.setting) {
    const file = places.setting.replace(/^~(?=$|[\\/])/, homedir());
    // A setting that is wrong is told, not silently replaced by another program.
    return isAbsolute(file) && runs(file)
      ? { program: file }
      : { problem: "setting", looked: [file] };
  }
  const candidates = [
    join(places.extensionFolder, "bin", name),
    ...places.path.split(delimiter).filter(Boolean).map((folder) => join(folder, name)),
  ];
  const program = candidates.find(runs);
  return program ? { program } : { problem: "missing", looked: candidates };
}
