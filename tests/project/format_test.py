"""The sources are laid out by clang-format, one version for everybody."""
import pathlib
import re
import shutil
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = re.search(r"^CLANG_FORMAT=(\S+)$", (ROOT / "dev").read_text(encoding="utf-8"), re.M).group(1)
SOURCE = {".h", ".cpp", ".cu", ".cuh"}


def sources():
    for folder in ("syntax", "engine", "lsp", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SOURCE and "node_modules" not in path.parts:
                yield path


class Format(unittest.TestCase):
    def test_sources_are_formatted(self):
        self.assertIsNotNone(shutil.which(VERSION), f"{VERSION} is missing; `./dev fmt` installs it")
        files = list(sources())
        self.assertGreater(len(files), 100, "the test looked at few sources: did the folders move?")
        ran = subprocess.run([VERSION, "--dry-run", "-Werror", *files], capture_output=True, text=True)
        wrong = sorted({line.split(":")[0] for line in ran.stderr.splitlines() if " error: " in line})
        self.assertEqual(ran.returncode, 0, "run `./dev fmt`; it changes " + ", ".join(wrong))


if __name__ == "__main__":
    unittest.main()
