"""What the exporter writes gives the same logits in the engine as in the NumPy twin of the training code."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import adapter  # noqa: E402
import export  # noqa: E402
import gguf  # noqa: E402
from adapter_test import ALPHA, LABELS, RANK, random_adapter, write_base  # noqa: E402
from export_test import CONFIG, VOCABULARY  # noqa: E402

TOLERANCE = 5e-3  # keys and values are kept in 16 bits, activations of F16 matrices in 8


class EngineTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        rng = np.random.default_rng(4)
        self.tokens = rng.integers(6, 32, len(LABELS))
        # Deeper than tree positions tell apart, and in prefix-suffix-middle order: places go back at the end.
        deep = [(0, 999), (10, 99), (20, 90), (30, 80), (40, 70), (41, 60), (42, 50), (43, 43), (95, 99), (100, 100)]
        self.deep = np.array([(*deep[i // 4], i if i < 32 else 12) for i in range(40)], np.int32)

    def engine(self, model, tokens, labels, *extra):
        cells = self.folder / "cells.txt"
        cells.write_text("".join(f"{t} {s} {e} {p}\n" for t, (s, e, p) in zip(tokens, labels)))
        made = subprocess.run([os.environ["CAMBIUM_FORWARD"], model, cells, *extra], capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        return np.array([line.split() for line in made.stdout.splitlines()], np.float64).reshape(3, len(tokens), -1)

    def compare(self, made, want, name):
        for how, logits in zip(("one pass", "chunks", "plain twins"), made):
            error = np.sqrt(((logits - want) ** 2).sum() / (want ** 2).sum())
            self.assertLess(error, TOLERANCE, f"{name}, {how}")

    def test_every_mode(self):
        rng = np.random.default_rng(5)

        def tables(name, rows):
            return {f"blk.{i}.{name}": rng.standard_normal((rows, 4)).astype(np.float32) for i in range(3)}
        plain = None
        for name, config, extra in (
                ("plain", {}, {"blk.1.logit_scale": rng.standard_normal(4).astype(np.float32)}),
                ("emphasis", {"structure": (1, 1, 1)}, tables("structure_scale", 3) | tables("structure_bias", 3)),
                ("prune", {"structure": (2, 2, 2)}, {}), ("own", {"structure": (3, 3, 3)}, {}),
                ("near", {"structure": (3, 2, 0), "scope_window": 6}, {}), ("hybrid", {"structure": (3, 0, 2)}, {}),
                ("heads", {"structure": (3, 2, 3), "prune_heads": (0b1100, 0b0001, 0)}, {}),
                ("tree", {"tree": True}, tables("structure_tree", 16))):
            config = {**CONFIG, "window": 4, "sinks": 2, **config}
            weights = export.random_weights(config, 32)
            for key in weights:  # scores that spread, so that what is added to them shows
                if "attn_q" in key or "attn_k" in key:
                    weights[key] = weights[key] * 1.5
            weights = export.fold_logit_scale({**weights, **extra})
            path = self.folder / f"{name}.gguf"
            export.write_model(path, weights, config, VOCABULARY, "F16")
            stored = {k: np.array(t.dequantize()) for k, t in gguf.read(path).tensors.items()}
            for labels in (LABELS, self.deep):
                tokens = self.tokens[:len(labels)]
                want = adapter.forward(stored, config, tokens, labels)
                self.compare(self.engine(path, tokens, labels), want, name)
                if name == "plain":
                    plain = want
            if name != "plain":
                self.assertGreater(np.abs(want - plain).max(), 0.05, name)

    def test_an_adapter_laid_over_its_base(self):
        path = self.folder / "base.gguf"
        base, config = write_base(path)
        tensors = random_adapter(config)
        tensors |= {f"blk.{i}.structure_tree": np.random.default_rng(i).standard_normal((16, 4)).astype(np.float32)
                    for i in (0, 2)}
        laid = self.folder / "adapter.gguf"
        adapter.write(laid, tensors, {**config, "structure": (0, 3, 0)}, RANK, ALPHA)
        weights = adapter.merge(base, gguf.read(laid))
        want = adapter.forward(weights, {**config, "structure": (0, 3, 0)}, self.tokens, LABELS)
        self.compare(self.engine(path, self.tokens, LABELS, laid), want, "adapter")


if __name__ == "__main__":
    unittest.main()
