"""cambium-prepare writes shards that the trainer reads, and none over another."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "engine" / "training"))
import container  # noqa: E402
import shards  # noqa: E402

SOURCE = "def total(items):\n    found = 0\n    for item in items:\n        found += item.price\n    return found\n\n\n"


class PrepareTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def prepare(self, source, *flags):
        with open(self.folder / "in.bin", "wb") as out:
            container.write_record(out, "python/shop/total.py", source)
        return subprocess.run([os.environ["CAMBIUM_PREPARE"], "--labels", "--vocabulary",
                               ROOT / "engine/models/cambium-coder.gguf", "--out", self.folder / "shards", *flags,
                               self.folder / "in.bin"], capture_output=True, text=True)

    def test_the_trainer_reads_what_was_prepared(self):
        made = self.prepare(SOURCE * 40, "--name", "one", "--passes", "2")
        self.assertEqual(made.returncode, 0, made.stderr)
        found = [shards.Shard(path) for path in shards.find_shards(self.folder / "shards")]
        self.assertEqual([shard.folder.name for shard in found], ["one-0", "one-1"])
        for shard in found:
            self.assertGreater(len(shard.tokens), 100)
            self.assertEqual(shard.meta["tokens"], len(shard.tokens))
            self.assertEqual(len(shard.labels), len(shard.tokens))

    def test_a_finished_shard_is_not_written_over(self):
        self.assertEqual(self.prepare(SOURCE * 40, "--name", "one").returncode, 0)
        files = {path.name: path.read_bytes() for path in (self.folder / "shards" / "one-0").iterdir()}
        again = self.prepare(SOURCE * 90, "--name", "one")
        self.assertEqual(again.returncode, 2)
        self.assertIn("holds a shard already", again.stderr)
        self.assertEqual(files, {path.name: path.read_bytes() for path in (self.folder / "shards" / "one-0").iterdir()})


if __name__ == "__main__":
    unittest.main()
