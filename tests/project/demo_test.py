"""What `./dev demo` shows once the program is built."""
import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = ROOT / "lsp" / "cli" / "demo" / "run"


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        ran = subprocess.run([RUN, os.environ["CAMBIUM_BIN"]], capture_output=True, encoding="utf-8", timeout=240)
        assert ran.returncode == 0, ran.stderr
        cls.shown = ran.stdout

    def test_something_is_written_at_every_cursor(self):
        cursors = re.findall(r"^  (\S+:\d+:\d+)$", RUN.read_text(encoding="utf-8"), re.M)
        self.assertGreaterEqual(len(cursors), 3)
        for cursor in cursors:
            with self.subTest(cursor=cursor):
                code = self.shown.partition(f"\n{cursor}\n")[2].partition(" · stop: ")[0]
                self.assertRegex(code, r"«[^»]*\S[^»]*»")

    def test_the_paths_and_verbs_that_it_ends_with_exist(self):
        end = self.shown.partition("Use it in your editor")[2]
        paths = re.findall(r"(?<![\w./])/[^\s']+", end)
        self.assertGreaterEqual(len(paths), 2)
        for path in paths:
            self.assertTrue(pathlib.Path(path).exists(), path)
        usage = subprocess.run([ROOT / "dev"], capture_output=True, encoding="utf-8").stdout
        for verb in re.findall(r"\./dev (\w+)", end):
            self.assertRegex(usage, rf"(?m)^  {verb}\b")


if __name__ == "__main__":
    unittest.main()
