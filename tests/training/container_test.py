"""A compressed container that arrives in parts gives every record once, in order."""
import io
import lzma
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import container  # noqa: E402


class PartsTest(unittest.TestCase):
    def test_every_record_once(self):
        records = [(f"c/p/{i}.c", f"int x{i * i};\n" * (i % 40)) for i in range(1000)]
        streams = []
        for some in (records[:400], records[400:]):  # a compressed file after the other
            out = io.BytesIO()
            for path, text in some:
                container.write_record(out, path, text)
            streams.append(lzma.compress(out.getvalue()))
        data = b"".join(streams)
        for size in (700, 3000, len(streams[0]), len(data)):
            with tempfile.TemporaryDirectory() as folder:
                parts, got, skip = [], b"", 0
                for i in range(0, len(data), size):
                    parts.append(pathlib.Path(folder) / str(i))
                    parts[-1].write_bytes(data[i:i + size])
                    piece = container.unpack(parts, skip)
                    got, skip = got + piece, skip + len(piece)
                self.assertEqual(list(container.read_records(io.BytesIO(got))), records, size)


if __name__ == "__main__":
    unittest.main()
