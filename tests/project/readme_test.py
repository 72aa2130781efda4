"""The README's examples, run as they stand there."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "engine" / "models" / "cambium-coder.gguf"

# What the examples call src/parse.py: the cursor of line 40, column 9 stands in an empty body.
SOURCE = "".join(f"LIMIT_{i} = {i}\n" for i in range(38)) + "def parse(text):\n        \n"


def examples():
    """The commands of all ```console blocks, without the prompt."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


class Readme(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "src").mkdir()
        (self.folder / "src" / "parse.py").write_text(SOURCE)
        (self.folder / "engine" / "models").mkdir(parents=True)
        os.symlink(BUNDLED, self.folder / "engine" / "models" / BUNDLED.name)
        binary = pathlib.Path(os.environ["CAMBIUM_BIN"]).parent
        self.environment = {**os.environ, "PATH": f"{binary}:{os.environ['PATH']}",
                            "HOME": str(self.folder), "NO_COLOR": "1"}
        self.environment.pop("XDG_CONFIG_HOME", None)

    def run_example(self, command):
        return subprocess.run(["sh", "-c", command], cwd=self.folder, env=self.environment,
                              capture_output=True, text=True, timeout=120)

    def test_every_command_of_the_readme_works(self):
        commands = examples()
        self.assertGreaterEqual(len(commands), 4)
        for command in commands:
            # A file that the reader has and we do not: the bundled model stands in for it.
            for name in re.findall(r"--model (\S+)", command):
                if not (self.folder / name).exists():
                    os.symlink(BUNDLED, self.folder / name)
            with self.subTest(command=command):
                ran = self.run_example(command)
                self.assertEqual(ran.returncode, 0, ran.stderr)
                self.assertTrue(ran.stdout.strip())

    def test_json_has_what_the_readme_promises(self):
        ran = self.run_example("cambium complete --json src/parse.py:40:9")
        answer = json.loads(ran.stdout)
        self.assertTrue(answer["stop"])
        self.assertIn("parse", answer["scope"])
        for key in ("prompt_tokens", "reused_tokens", "prefill_ms", "decode_ms", "generated_tokens",
                    "ttft_ms"):
            self.assertIn(key, answer["timings"])
        self.assertGreater(answer["timings"]["generated_tokens"], 0)

    def test_paths_that_the_readme_names_exist(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        for name in re.findall(r"\]\(([^)#:]+)\)", text):
            self.assertTrue((ROOT / name).exists(), name)


if __name__ == "__main__":
    unittest.main()
