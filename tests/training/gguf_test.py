"""The exporter's GGUF files: what is written is read, in the format's own layout."""
import pathlib
import struct
import sys
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "engine" / "training"))
import gguf  # noqa: E402
import quantize  # noqa: E402

VALUES = {
    "s": "text", "s.unicode": "<\uff5cfim\u2581hole\uff5c>", "b": True, "u": 7, "i": -7, "l": -(1 << 40), "f": 0.5,
    "strings": ["a", "", "\u0120x"], "ints": [1, 2, 3], "mixed": [1, -2], "floats": [0.5, 1.5],
    "bools": [True, False],
}


class Gguf(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name) / "m.gguf"

    def tearDown(self):
        self.folder.cleanup()

    def write(self, tensors=()):
        writer = gguf.Writer()
        for key, value in VALUES.items():
            writer.add(key, value)
        writer.add("typed", [1, 2], "f32")
        writer.add("empty", [], "str")
        writer.add("empty.ints", [], "i32")
        for name, array, kind in tensors:
            writer.add_tensor(name, array, kind)
        writer.write(self.path)
        return self.path.read_bytes()

    def test_metadata_comes_back(self):
        self.write()
        metadata = gguf.read(self.path).metadata
        for key, value in VALUES.items():
            self.assertEqual(metadata[key], value, key)
        self.assertEqual(metadata["typed"], [1.0, 2.0])
        self.assertEqual(metadata["empty"], [])
        self.assertEqual(metadata["empty.ints"], [])

    def test_header_is_the_formats(self):
        writer = gguf.Writer()
        writer.add("k", "v")
        writer.add_tensor("t", np.zeros((2, 3)))
        writer.write(self.path)
        data = self.path.read_bytes()
        head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
        key = struct.pack("<Q", 1) + b"k" + struct.pack("<IQ", 8, 1) + b"v"
        # The contiguous dimension comes first.
        tensor = struct.pack("<Q", 1) + b"t" + struct.pack("<IQQIQ", 2, 3, 2, 0, 0)
        self.assertEqual(data[:len(head + key + tensor)], head + key + tensor)
        self.assertEqual(len(data) % 32, 0)
        self.assertEqual(list(pathlib.Path(self.folder.name).iterdir()), [self.path])

    def test_tensors_come_back_aligned(self):
        random = np.random.default_rng(1)
        a, b = random.standard_normal((3, 5)), random.standard_normal(7)
        c = random.standard_normal((2, 3, 256))
        self.write([("a", a, "F32"), ("b", b, "F32"), ("c", c, "Q4_K")])
        tensors = gguf.read(self.path).tensors
        np.testing.assert_array_equal(tensors["a"].dequantize(), a.astype(np.float32))
        np.testing.assert_array_equal(tensors["b"].dequantize(), b.astype(np.float32))
        self.assertEqual(tensors["c"].shape, (2, 3, 256))
        self.assertLess(np.abs(tensors["c"].dequantize() - c).max(), 0.5)
        for tensor in tensors.values():
            self.assertEqual(tensor.data.ctypes.data % 32, 0)

    def test_what_cannot_be_written_is_refused(self):
        writer = gguf.Writer()
        writer.add("k", 1)
        for call, message in (
                (lambda: writer.add("k", 2), "there already"),
                (lambda: writer.add("x", {}), "metadata value"),
                (lambda: writer.add("x", [1, 2.5]), "name its element type"),
                (lambda: writer.add("x", []), "name its element type"),
                (lambda: writer.add_tensor("t", np.array([1.0, np.nan])), "not finite"),
                (lambda: writer.add_tensor("t", np.zeros((1, 1, 1, 1, 2))), "dimensions"),
                (lambda: writer.add_tensor("t", np.zeros((1, 100)), "Q4_K"), "multiple of Q4_K")):
            with self.assertRaisesRegex(ValueError, message):
                call()

    def test_damaged_files_are_refused(self):
        data = self.write([("a", np.ones((4, 32)), "Q8_0")])
        end = len(data) - (-(4 * 34) % 32)
        for n in range(4, end):
            self.path.write_bytes(data[:n])
            with self.assertRaises((gguf.GgufError, struct.error)):
                gguf.read(self.path)
        self.path.write_bytes(b"GGML" + data[4:])
        with self.assertRaisesRegex(gguf.GgufError, "no GGUF"):
            gguf.read(self.path)

    def test_the_golden_file_is_what_this_code_writes_and_reads(self):
        file = gguf.read(ROOT / "tests" / "golden" / "quantized.gguf")
        for kind in quantize.TYPES:
            values = file.tensors[f"{kind}.values"].dequantize()
            np.testing.assert_array_equal(file.tensors[kind].dequantize(), values, kind)


if __name__ == "__main__":
    unittest.main()
