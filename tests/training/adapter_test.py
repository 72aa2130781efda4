"""Adapters of random weights: what a file holds, what it does to a base, and the NumPy twin of the model."""
import pathlib
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import adapter  # noqa: E402
import export  # noqa: E402
import gguf  # noqa: E402
import structure  # noqa: E402
from export_test import CONFIG, VOCABULARY  # noqa: E402

RANK, ALPHA = 4, 8.0
TREE = [(0, 999)] * 6 + [(10, 39)] * 4 + [(20, 25)] * 20 + [(10, 39)] * 2 + [(30, 35)] * 12 + [(0, 999)] * 4
LABELS = np.array([(*s, i) for i, s in enumerate(TREE)], np.int32)


def write_base(path, seed=1, **changes):
    """A random llama file; returns (file, config as adapter.py reads it)."""
    config = {**CONFIG, **changes}
    export.write_model(path, export.random_weights(config, 32, seed), config, VOCABULARY, "F16")
    file = gguf.read(path)
    return file, {**adapter.base_config(file), "structure": (), "window": 4, "sinks": 2, "tree": False}


def random_adapter(config, seed=2, zero=False):
    rng = np.random.default_rng(seed)
    tensors = {}
    for i in range(config["layers"]):
        for name, rows in (("attn_q", 64), ("attn_output", 64)):
            tensors[f"blk.{i}.{name}.weight.lora_a"] = rng.standard_normal((RANK, 64)).astype(np.float32) / 8
            b = rng.standard_normal((rows, RANK)).astype(np.float32) / 2
            tensors[f"blk.{i}.{name}.weight.lora_b"] = b * 0 if zero else b
    return tensors


class AdapterTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.base, self.config = write_base(self.folder / "base.gguf")
        self.tokens = np.random.default_rng(3).integers(6, 32, len(LABELS))

    def written(self, tensors, **changes):
        path = self.folder / "adapter.gguf"
        adapter.write(path, tensors, {**self.config, **changes}, RANK, ALPHA)
        return gguf.read(path)

    def test_what_the_file_says(self):
        file = self.written(random_adapter(self.config), structure=(2, 0, 3))
        keys = file.metadata
        self.assertEqual((keys["general.type"], keys["adapter.type"], keys["general.architecture"]),
                         ("adapter", "lora", "llama"))
        self.assertEqual((keys["adapter.lora.alpha"], keys["cambium.structure.mode"]), (ALPHA, [2, 0, 3]))
        self.assertEqual(file.tensors["blk.1.attn_q.weight.lora_a"].shape, (RANK, 64))
        self.assertEqual(file.tensors["blk.1.attn_q.weight.lora_b"].shape, (64, RANK))

    def test_low_rank_updates_are_added_to_the_matrix(self):
        tensors = random_adapter(self.config)
        made = adapter.merge(self.base, self.written(tensors))
        a, b = (tensors[f"blk.2.attn_output.weight.lora_{x}"] for x in "ab")
        before = self.base.tensors["blk.2.attn_output.weight"].dequantize()
        np.testing.assert_allclose(made["blk.2.attn_output.weight"], before + ALPHA / RANK * (b @ a), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(made["blk.2.attn_k.weight"], self.base.tensors["blk.2.attn_k.weight"].dequantize())

    def test_at_the_first_step_nothing_changes(self):
        plain = adapter.forward(adapter.merge(self.base, self.written({})), self.config, self.tokens)
        tensors = random_adapter(self.config, zero=True)
        tensors |= {f"blk.{i}.structure_{n}": np.zeros((3, 4), np.float32) for i in range(3) for n in ("scale", "bias")}
        merged = adapter.merge(self.base, self.written(tensors, structure=(1, 1, 1)))
        again = adapter.forward(merged, {**self.config, "structure": (1, 1, 1)}, self.tokens, LABELS)
        np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-4)
        other = adapter.forward(adapter.merge(self.base, self.written(random_adapter(self.config))), self.config, self.tokens)
        self.assertGreater(np.abs(other - plain).max(), 0.01)

    def test_pruned_keys_change_nothing(self):
        """In every mode, a token that no later one may see can be any other."""
        weights = adapter.merge(self.base, self.written({}))
        at = len(TREE) - 1
        for mode, reach in ((2, structure.ANCESTOR), (3, structure.SAME)):
            config = {**self.config, "structure": (mode,) * 3}
            seen = structure.visible(LABELS, np.arange(at + 1), np.arange(at + 1), structure.Rule(4, 2, reach))
            reachable = {at}
            for _ in range(3):  # layers
                reachable = {k for q in reachable for k in np.flatnonzero(seen[q])}
            hidden = sorted(set(range(at + 1)) - reachable)
            self.assertTrue(hidden, mode)
            changed = self.tokens.copy()
            changed[hidden] = 6 + (changed[hidden] - 5) % 26
            a, b = (adapter.forward(weights, config, t, LABELS)[at] for t in (self.tokens, changed))
            np.testing.assert_array_equal(a, b)

    def test_bases_that_do_not_fit_are_refused(self):
        for key, value, message in (("general.architecture", "qwen2", "architecture qwen2"),
                                    ("llama.rope.scaling.type", "yarn", "RoPE scaling yarn"),
                                    ("llama.rope.dimension_count", 8, "rotates 8 of 16")):
            file = gguf.File({**self.base.metadata, key: value}, self.base.tensors)
            with self.assertRaisesRegex(ValueError, message):
                adapter.base_config(file)
        with self.assertRaisesRegex(ValueError, "has rank 4, expected 8"):
            adapter.write(self.folder / "x.gguf", random_adapter(self.config), self.config, 8, ALPHA)
        wrong = random_adapter(self.config)
        wrong["blk.0.attn_q.weight.lora_b"] = wrong["blk.0.attn_q.weight.lora_b"][:32]
        with self.assertRaisesRegex(ValueError, "its update is"):
            adapter.merge(self.base, self.written(wrong))


if __name__ == "__main__":
    unittest.main()
