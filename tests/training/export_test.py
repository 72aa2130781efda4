"""What a file says of the structure, and that folding the logit scale keeps the scores."""
import pathlib
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import export  # noqa: E402
import gguf  # noqa: E402

VOCABULARY = {"specials": ["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_end|>",
                           "<|file_name|>"], "tokens": [f"t{i}" for i in range(32)], "merges": ["a b"]}
CONFIG = {"width": 64, "layers": 3, "heads": 4, "kv_heads": 2, "head_width": 16, "ffn": 96, "rope_theta": 10000.0,
          "norm_eps": 1e-5, "context": 128, "structure": (), "window": 64, "sinks": 4, "tree": False}


def written(changes, extra=()):
    config = {**CONFIG, **changes}
    weights = export.random_weights(config, 32)
    weights.update(extra)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "m.gguf"
        export.write_model(path, export.fold_logit_scale(weights), config, VOCABULARY, "F16")
        file = gguf.read(path)
        return file.metadata, {k: t.dequantize() for k, t in file.tensors.items()}


class ExportTest(unittest.TestCase):
    def test_a_plain_model_is_a_llama(self):
        keys, tensors = written({}, {"blk.0.logit_scale": np.zeros(4, np.float32)})
        self.assertEqual(keys["general.architecture"], "llama")
        self.assertFalse([k for k in keys if "structure" in k])
        self.assertNotIn("blk.0.logit_scale", tensors)

    def test_structure_keys(self):
        keys, _ = written({"structure": (3, 0, 2)})
        self.assertEqual(keys["general.architecture"], "cambium")
        self.assertEqual(keys["cambium.structure.mode"], [3, 0, 2])
        self.assertNotIn("cambium.structure.prune_heads", keys)
        self.assertEqual((keys["cambium.structure.window"], keys["cambium.structure.sinks"]), (64, 4))
        self.assertNotIn("cambium.structure.scope_window", keys)
        keys, _ = written({"structure": (3, 0, 2), "scope_window": 384})
        self.assertEqual(keys["cambium.structure.scope_window"], 384)

    def test_heads_that_see_everything(self):
        keys, _ = written({"structure": (3, 3, 3), "prune_heads": (0b1100, 0b1111, 0)})
        self.assertEqual(keys["cambium.structure.prune_heads"], [0b1100, 0b1111, 0])

    def test_structure_tensors(self):
        table = np.arange(12, dtype=np.float32).reshape(3, 4)
        _, tensors = written({"structure": (1, 0, 0)}, {"blk.0.structure_scale": table, "blk.0.structure_bias": -table})
        np.testing.assert_array_equal(tensors["blk.0.attn_structure_scale"], table)
        np.testing.assert_array_equal(tensors["blk.0.attn_structure_bias"], -table)
        tree = np.arange(64, dtype=np.float32).reshape(16, 4)
        keys, tensors = written({"tree": True}, {f"blk.{i}.structure_tree": tree for i in range(3)})
        np.testing.assert_array_equal(tensors["blk.2.attn_tree_bias"], tree)
        self.assertEqual((keys["general.architecture"], keys["cambium.structure.mode"]), ("cambium", [0, 0, 0]))

    def test_a_control_is_not_exported(self):
        with self.assertRaisesRegex(ValueError, "control of the experiment"):
            written({"structure": (4, 0, 0)})
        with self.assertRaisesRegex(ValueError, "variant of the experiment"):
            written({"depth": True})

    def test_a_plain_file_has_the_model_s_own_names(self):
        """train.py --from takes a file's tensors as they are called there."""
        _, tensors = written({})
        want = export.random_weights(CONFIG, 32)
        self.assertEqual({k: t.shape for k, t in tensors.items()}, {k: w.shape for k, w in want.items()})

    def test_the_logit_scale_is_in_the_queries(self):
        rng = np.random.default_rng(1)
        scale = rng.standard_normal(4).astype(np.float32)
        weights = export.random_weights(CONFIG, 32)
        before = weights["blk.1.attn_q.weight"].copy()
        weights["blk.1.logit_scale"] = scale
        after = export.fold_logit_scale(weights)
        x = rng.standard_normal(64).astype(np.float32)
        q, folded = (before @ x).reshape(4, 16), (after["blk.1.attn_q.weight"] @ x).reshape(4, 16)
        np.testing.assert_allclose(folded, q * (1 + scale)[:, None], rtol=1e-4, atol=1e-5)
        self.assertIs(after["blk.0.attn_q.weight"], weights["blk.0.attn_q.weight"])


if __name__ == "__main__":
    unittest.main()
