"""The two models in the tree: the one that ships has the parent mask on without being asked for, and it skips work; its
plain twin has none."""
import json
import unittest

from binary import MODEL, ROOT, run

PLAIN = ROOT / "engine/models/cambium-coder-plain.gguf"


def complete(place, *flags):
    done = run("complete", "--json", *flags, place)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class BundledModels(unittest.TestCase):
    def test_the_file_says_how_many_heads_see_only_their_own_scope(self):
        told = run("models", "info", MODEL).stdout
        self.assertRegex(told, r"architecture +cambium")
        self.assertIn("56 of 96 heads see only their own scope (window 96, sinks 4, scopes seen 384 tokens far)", told)

    def test_the_mask_is_on_by_itself_and_skips_work(self):
        place = f"{ROOT}/lsp/text.cpp:60:1"
        self.assertGreater(complete(place)["timings"]["skipped_blocks"], 0.1)
        self.assertEqual(complete(place, "--structure", "off")["timings"]["skipped_blocks"], 0)

    def test_the_plain_twin_is_a_llama_that_completes(self):
        self.assertRegex(run("models", "info", PLAIN).stdout, r"architecture +llama")
        answer = complete(f"{ROOT}/lsp/cli/demo/inventory.py:23:13", "--model", PLAIN)
        self.assertTrue(answer["items"][0]["text"])
        self.assertEqual(answer["timings"]["skipped_blocks"], 0)


if __name__ == "__main__":
    unittest.main()
