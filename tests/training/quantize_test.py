"""Quantizers: their error, what they must represent exactly, and importance weights."""
import pathlib
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import quantize  # noqa: E402


def round_trip(x, kind, importance=None):
    data = quantize.quantize(x, kind, importance)
    return quantize.dequantize(data, kind)


def rounding_q4_k(x):
    """Q4_K by minimum and maximum alone, the plain way, for comparison; returns what it decodes to."""
    b = x.reshape(-1, 8, 32)
    low = np.minimum(b.min(axis=2), 0)
    scale, minimum = (b.max(axis=2) - low) / 15, -low
    d, dmin = scale.max(axis=1, keepdims=True) / 63, minimum.max(axis=1, keepdims=True) / 63
    step = (d * np.rint(scale / d))[:, :, None]
    shift = (dmin * np.rint(minimum / dmin))[:, :, None]
    return (np.clip(np.rint((b + shift) / step), 0, 15) * step - shift).reshape(x.shape)


class Quantize(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(3)
        self.x = self.random.standard_normal((8, 1024)).astype(np.float32)

    def test_error_on_normal_values(self):
        # Root mean square error over the standard deviation. The lower ends hold the search to what it
        # reaches; the upper ones catch a format that is better than it can be.
        for kind, low, high in (("F32", 0, 0), ("F16", 1e-4, 4e-4), ("BF16", 1e-3, 2e-3),
                                ("Q8_0", 0.004, 0.0065), ("Q6_K", 0.014, 0.019), ("Q5_0", 0.035, 0.043),
                                ("Q5_K", 0.030, 0.037), ("Q4_0", 0.07, 0.085), ("Q4_K", 0.06, 0.073)):
            with self.subTest(kind):
                error = np.sqrt(np.mean((round_trip(self.x, kind) - self.x) ** 2))
                self.assertGreaterEqual(error, low)
                self.assertLessEqual(error, high)

    def test_the_search_beats_plain_rounding(self):
        found = np.mean((round_trip(self.x, "Q4_K") - self.x) ** 2)
        plain = np.mean((rounding_q4_k(self.x) - self.x) ** 2)
        self.assertLess(found, 0.85 * plain)

    def test_representable_values_are_exact(self):
        # Small integers with every level in use fit all of these.
        for kind, low, high in (("Q8_0", -127, 127), ("Q6_K", -32, 31), ("Q5_0", -16, 15),
                                ("Q4_0", -8, 7), ("Q5_K", 0, 31), ("Q4_K", 0, 15)):
            with self.subTest(kind):
                x = self.random.integers(low, high + 1, (4, 512)).astype(np.float32)
                x[:, ::16] = low if low else high
                np.testing.assert_allclose(round_trip(x, kind), x, atol=1e-2 * high)
        np.testing.assert_array_equal(round_trip(np.zeros((2, 256)), "Q4_K"), 0)

    def test_odd_blocks(self):
        blocks = {
            "zeros": np.zeros(256), "constant": np.full(256, 3.25), "negative": np.full(256, -3.25),
            "one": np.eye(1, 256, 100)[0] * 5, "large": self.x[0, :256] * 1e4,
            "small": self.x[0, :256] * 1e-2, "offset": self.x[0, :256] * 0.01 + 10,
            "outlier": np.where(np.arange(256) == 7, 100, self.x[0, :256]),
            "half empty": np.where(np.arange(256) < 128, 0, self.x[0, :256]),
        }
        for name, block in blocks.items():
            x = block.astype(np.float32)[None]
            for kind, share in (("Q4_0", 0.15), ("Q5_0", 0.08), ("Q8_0", 0.02), ("Q6_K", 0.06),
                                ("Q5_K", 0.08), ("Q4_K", 0.12)):
                with self.subTest(name=name, kind=kind):
                    y = round_trip(x, kind)
                    self.assertTrue(np.isfinite(y).all())
                    self.assertLessEqual(np.abs(y - x).max(), share * np.abs(x).max() + 1e-7)

    def test_importance_moves_the_error(self):
        importance = np.ones(1024, np.float32)
        importance[::8] = 50
        for kind in ("Q4_K", "Q5_K", "Q6_K", "Q4_0"):
            with self.subTest(kind):
                plain = (round_trip(self.x, kind) - self.x) ** 2
                weighted = (round_trip(self.x, kind, importance) - self.x) ** 2
                self.assertLess(weighted[:, ::8].mean(), 0.9 * plain[:, ::8].mean())
                self.assertLess((weighted * importance).mean(), (plain * importance).mean())
        zero = np.zeros(1024, np.float32)  # a layer that saw no data: as without weights
        np.testing.assert_array_equal(round_trip(self.x, "Q4_K", zero), round_trip(self.x, "Q4_K"))
        with self.assertRaises(ValueError):
            quantize.quantize(self.x, "Q4_K", -importance)

    def test_rows_do_not_depend_on_each_other(self):
        x = self.random.standard_normal((300, 512)).astype(np.float32)
        whole = quantize.quantize(x, "Q4_K")
        np.testing.assert_array_equal(quantize.quantize(x[255:258], "Q4_K"), whole[255:258])

    def test_fitting_types(self):
        self.assertEqual(quantize.fitting("Q4_K", 1280), "Q4_K")
        self.assertEqual(quantize.fitting("Q4_K", 5504), "Q5_0")
        self.assertEqual(quantize.fitting("Q6_K", 96), "Q8_0")
        self.assertEqual(quantize.fitting("Q6_K", 3), "F16")
        with self.assertRaisesRegex(ValueError, "256"):
            quantize.row_bytes("Q6_K", 100)


if __name__ == "__main__":
    unittest.main()
