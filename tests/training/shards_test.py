"""Packing: no token lost, none seen by a neighbour, later shards picked up."""
import collections
import json
import pathlib
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import structure  # noqa: E402
from shards import Packer, Shard, find_shards  # noqa: E402


def write_shard(folder, name, lengths, first=1, labels=False):
    """Documents of the given lengths; every token of document i has the id `first + i`."""
    path = pathlib.Path(folder) / name
    path.mkdir()
    tokens = np.concatenate([np.full(n, first + i, np.uint16) for i, n in enumerate(lengths)])
    tokens.tofile(path / "tokens.u16")
    np.ones(len(tokens), np.uint8).tofile(path / "loss.u8")
    np.cumsum([0, *lengths]).astype(np.uint64).tofile(path / "docs.u64")
    if labels:
        np.repeat(np.arange(len(tokens), dtype=np.int32), 3).tofile(path / "labels.i32")
    (path / "meta.json").write_text(json.dumps({"docs": len(lengths), "tokens": len(tokens)}))


class PackerTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def test_an_epoch_holds_every_document_once(self):
        rng = np.random.default_rng(3)
        lengths = rng.integers(2, 64, 300).tolist()
        write_shard(self.folder.name, "a", lengths)
        packer = Packer(self.folder.name, 64, seed=1, open_rows=4)
        seen = collections.Counter()
        while packer.epochs == 0:
            row = packer.row()
            for doc in range(row["doc"].max() + 1):
                ids = row["tokens"][row["doc"] == doc]
                self.assertEqual(len(set(ids)), 1, "two documents under one number")
                self.assertEqual(len(ids), lengths[ids[0] - 1], "a document was cut")
                seen[int(ids[0])] += 1
        self.assertTrue(set(seen.values()) <= {1, 2})
        self.assertGreater(len(seen), 300 - 4 * 32)  # the rest is in rows still open

    def test_first_tokens_and_padding_are_not_predicted(self):
        write_shard(self.folder.name, "a", [5, 9, 3])
        row = Packer(self.folder.name, 32, open_rows=1).batch(1)
        doc, loss = row["doc"][0], row["loss"][0]
        starts = np.flatnonzero(np.diff(doc, prepend=-2) != 0)
        self.assertFalse(loss[starts].any())
        self.assertFalse(loss[doc < 0].any())

    def test_little_padding(self):
        rng = np.random.default_rng(4)
        write_shard(self.folder.name, "a", rng.integers(8, 512, 2000).tolist())
        rows = Packer(self.folder.name, 512, seed=2).batch(200)
        self.assertLess((rows["doc"] < 0).mean(), 0.05)

    def test_new_shards_are_found(self):
        write_shard(self.folder.name, "a", [10] * 4)
        packer = Packer(self.folder.name, 20)
        write_shard(self.folder.name, "b", [10] * 4, first=100)
        seen = np.concatenate([packer.row()["tokens"] for _ in range(12)])
        self.assertTrue((seen >= 100).any())

    def test_same_seed_same_order(self):
        write_shard(self.folder.name, "a", [7] * 50, labels=True)
        a, b = (Packer(self.folder.name, 32, seed=9, with_labels=True).batch(5) for _ in range(2))
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])

    def test_the_control_moves_scopes_within_a_document_and_leaves_places(self):
        write_shard(self.folder.name, "a", [24] * 40, first=100, labels=True)
        true, control = (Packer(self.folder.name, 64, seed=9, with_labels=True, with_paths=True, shuffle=shuffle).batch(5)
                         for shuffle in (False, True))
        np.testing.assert_array_equal(true["tokens"], control["tokens"])
        np.testing.assert_array_equal(true["labels"][..., 2], control["labels"][..., 2])
        self.assertTrue((true["labels"][..., 0] != control["labels"][..., 0]).any())
        for doc in range(2):
            at = true["doc"][0] == doc
            np.testing.assert_array_equal(np.sort(true["labels"][0, at, 0]), np.sort(control["labels"][0, at, 0]))
            np.testing.assert_array_equal(control["path"][0, at], structure.path_codes(control["labels"][0, at]))

    def test_open_brackets_of_each_middle(self):
        path = pathlib.Path(self.folder.name) / "a"
        write_shard(self.folder.name, "a", [5, 5], first=20, labels=True)
        np.array([0, structure.MIDDLE, 20, 20, structure.END, 20, 21, 20, 21, 20], np.uint16).tofile(path / "tokens.u16")
        labels = np.zeros((10, 3), np.int32)
        labels[:, 2] = [0, 1, 1, 1, 1, 0, 1, 2, 3, 4]
        labels.tofile(path / "labels.i32")
        row = Packer(self.folder.name, 16, with_labels=True, net=structure.net_brackets(["("] * 40)).row()
        hole = row["doc"] == row["doc"][np.flatnonzero(row["tokens"] == structure.MIDDLE)[0]]
        out = structure.OUTSIDE
        self.assertEqual(row["brackets"][hole].tolist(), [out, out, 1, 2, out])
        self.assertTrue((row["brackets"][~hole] == out).all())

    def test_labels_that_are_needed_and_not_there(self):
        write_shard(self.folder.name, "a", [10, 10])
        with self.assertRaisesRegex(ValueError, "prepare it with --labels"):
            Packer(self.folder.name, 32, with_labels=True)

    def test_a_damaged_shard_is_refused(self):
        write_shard(self.folder.name, "a", [10, 10])
        path = find_shards(self.folder.name)[0]
        np.zeros(3, np.uint8).tofile(path / "loss.u8")
        with self.assertRaisesRegex(ValueError, "arrays disagree"):
            Shard(path)


if __name__ == "__main__":
    unittest.main()
