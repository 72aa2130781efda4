"""The model trained with the parent mask, as its file stands in the tree: the mask is on without being asked for,
skips work, and a completion comes out."""
import json
import os
import pathlib
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ["CAMBIUM_BIN"]
MODEL = ROOT / "engine/models/cambium-coder-structured.gguf"


def run(*args):
    return subprocess.run([BINARY, *map(str, args)], capture_output=True, text=True, timeout=240)


def complete(place, *flags):
    done = run("complete", "--model", MODEL, "--json", *flags, place)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class StructuredModel(unittest.TestCase):
    def test_its_file_says_which_layers_see_only_their_own_scope(self):
        told = run("models", "info", MODEL).stdout
        self.assertRegex(told, r"architecture +cambium")
        self.assertRegex(told, r"9 prune all but their own scope \(window 64, sinks 4\).* 3 are plain")

    def test_the_mask_is_on_by_itself_and_skips_work(self):
        place = f"{ROOT}/lsp/text.cpp:60:1"
        self.assertGreater(complete(place)["timings"]["skipped_blocks"], 0.1)
        self.assertEqual(complete(place, "--structure", "off")["timings"]["skipped_blocks"], 0)

    def test_it_completes_the_demos_first_file(self):
        answer = complete(f"{ROOT}/lsp/cli/demo/inventory.py:23:13")
        self.assertEqual([item["text"] for item in answer["items"]],
                         ['raise ValueError("count must not be negative")'])


if __name__ == "__main__":
    unittest.main()
