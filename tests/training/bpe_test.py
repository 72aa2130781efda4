"""The vocabulary trainer: where it splits, what it merges, and that its file says the same."""
import collections
import json
import pathlib
import random
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "engine" / "training"))
sys.path.insert(0, str(ROOT / "tests" / "golden"))
import bpe  # noqa: E402
import container  # noqa: E402
import export  # noqa: E402
import gguf  # noqa: E402
import make_golden  # noqa: E402


class Split(unittest.TestCase):
    def test_pieces(self):
        for text, pieces in (
                ("", []), ("x=1", ["x", "=", "1"]), ("x = 12", ["x", " =", " ", "1", "2"]),
                ("a  b", ["a", " ", " b"]), ("x  \n", ["x", "  \n"]),
                ("\n\n    return self.v\n", ["\n\n   ", " return", " self", ".", "v", "\n"]),
                ("it's I'm 'RE", ["it", "'s", " I", "'m", " '", "RE"]),
                ("foo_bar __init__", ["foo", "_", "bar", " __", "init", "__"]),
                ("1½2", ["1", "½", "2"]), ("été naïve", ["été", " naïve"]),
                ("你好，世界", ["你好", "，", "世界"]), ("a\tb", ["a", "\t", "b"])):
            self.assertEqual(bpe.split(text), pieces, text)

    def test_nothing_is_lost(self):
        source = random.Random(1)
        alphabet = "ab Z_09\t\n\r'\"(){}.:é½Ⅷ٣世\u00a0\u2003😀\u0301"
        for _ in range(3000):
            text = "".join(source.choice(alphabet) for _ in range(source.randrange(20)))
            self.assertEqual("".join(bpe.split(text)), text)

    def test_ascii_and_unicode_rules_agree(self):
        source = random.Random(2)
        alphabet = "ab Z_09\t\n\r\f\v'srtvemd\"(){}.:\x00\x1c\x7f"
        for _ in range(5000):
            text = "".join(source.choice(alphabet) for _ in range(source.randrange(16)))
            self.assertEqual(bpe._ASCII.findall(text), bpe._PIECE.findall(text), repr(text))


class Train(unittest.TestCase):
    def test_the_most_frequent_pair_comes_first(self):
        pieces, merges = bpe.train({b"aab": 5, b"ab": 3, b"cd": 4}, 3)
        self.assertEqual(pieces[256:], [b"ab", b"aab", b"cd"])
        self.assertEqual(merges, [(97, 98), (97, 256), (99, 100)])

    def test_ties_go_to_the_smaller_bytes(self):
        self.assertEqual(bpe.train({b"xy": 2, b"ab": 2, b"ax": 2}, 3)[0][256:], [b"ab", b"ax", b"xy"])

    def test_the_order_of_the_input_does_not_matter(self):
        words = collections.Counter(w.encode() for w in bpe.split(make_golden.TEXT))
        items = list(words.items())
        first = bpe.train(dict(items), 150)
        random.Random(3).shuffle(items)
        self.assertEqual(bpe.train(dict(items), 150), first)

    def test_as_counted_slowly(self):
        """Every merge is the best of all pairs, counted from scratch."""
        words = collections.Counter(w.encode() for w in bpe.split(make_golden.TEXT[:900]))
        pieces, merges = bpe.train(words, 60)
        ranks = {}
        for i, merge in enumerate(merges):
            pairs = collections.Counter()
            for word, count in words.items():
                ids = bpe.encode(word, ranks)
                for pair in zip(ids, ids[1:]):
                    pairs[pair] += count
            best = min(pairs, key=lambda p: (-pairs[p], pieces[p[0]], pieces[p[1]]))
            self.assertEqual(merge, best)
            ranks[merge] = (i, 256 + i)

    def test_rare_and_long_pieces_are_left_out(self):
        self.assertEqual(bpe.train({b"ab": 1}, 5)[1], [])
        longest = max(map(len, bpe.train({b"=" * 100: 50}, 40)[0]))
        self.assertLessEqual(longest, 32)


class Files(unittest.TestCase):
    def test_a_container_becomes_a_vocabulary_and_a_file(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            with open(folder / "c.bin", "wb") as out:
                for i in range(6):
                    container.write_record(out, f"python/p/{i}.py", make_golden.TEXT)
            made = []
            for run in range(2):
                path = folder / f"v{run}.json"
                argv = ["bpe.py", str(folder / "c.bin"), "--out", str(path), "--size", "400"]
                with mock.patch.object(sys, "argv", argv), mock.patch("sys.stderr"):
                    bpe.main()
                made.append(path.read_text())
            self.assertEqual(made[0], made[1])
            argv = ["export.py", "vocabulary", str(folder / "v0.json"), str(folder / "v.gguf")]
            with mock.patch.object(sys, "argv", argv):
                export.main()
            self.check_file(json.loads(made[0]), gguf.read(folder / "v.gguf").metadata)
            with mock.patch.object(sys, "argv", ["export.py", "take", str(folder / "v.gguf"), str(folder / "taken.json")]):
                export.main()
            self.assertEqual(json.loads((folder / "taken.json").read_text()), json.loads(made[0]))

    def check_file(self, vocabulary, metadata):
        tokens = metadata["tokenizer.ggml.tokens"]
        self.assertEqual(tokens, vocabulary["tokens"])
        self.assertEqual(metadata["tokenizer.ggml.merges"], vocabulary["merges"])
        self.assertEqual(len(set(tokens)), 400)
        kinds = metadata["tokenizer.ggml.token_type"]
        self.assertEqual([t for t, k in zip(tokens, kinds) if k == export.CONTROL], bpe.SPECIALS)
        for key, name in (("bos", "<|endoftext|>"), ("eot", "<|fim_end|>"), ("fim_mid", "<|fim_middle|>")):
            self.assertEqual(tokens[metadata[f"tokenizer.ggml.{key}_token_id"]], name)
        # Ids are those of the trainer's own encoder: by the merges as they are spelt in the file.
        index = {t: i for i, t in enumerate(tokens)}
        spell = bpe.byte_alphabet()
        first = len(bpe.SPECIALS)
        ranks = {}
        for rank, merge in enumerate(metadata["tokenizer.ggml.merges"]):
            a, b = merge.split(" ")
            ranks[index[a] - first, index[b] - first] = (rank, index[a + b] - first)
        back = {c: b for b, c in spell.items()}
        for text in make_golden.CASES:
            ids = [first + i for w in bpe.split(text) for i in bpe.encode(w.encode(), ranks)]
            self.assertEqual(bytes(back[c] for i in ids for c in tokens[i]).decode(), text)

    def test_too_little_text_is_an_error(self):
        with tempfile.TemporaryDirectory() as name:
            path = pathlib.Path(name) / "c.bin"
            with open(path, "wb") as out:
                container.write_record(out, "python/p/a.py", "x = 1\n")
            argv = ["bpe.py", str(path), "--out", str(path) + ".json"]
            with mock.patch.object(sys, "argv", argv), mock.patch("sys.stderr"), \
                    self.assertRaisesRegex(SystemExit, "too little text"):
                bpe.main()

    def test_the_golden_vocabulary_is_what_this_trainer_makes(self):
        words = collections.Counter(w.encode() for w in bpe.split(make_golden.TEXT))
        pieces, merges = bpe.train(words, make_golden.MAX_TOKENS - len(bpe.SPECIALS) - 256)
        stored = gguf.read(ROOT / "tests" / "golden" / "vocabulary.gguf").metadata
        self.assertEqual(bpe.vocabulary(pieces, merges)["merges"], stored["tokenizer.ggml.merges"])

    def test_the_shipped_vocabulary_is_whole(self):
        metadata = gguf.read(ROOT / "engine" / "models" / "cambium-coder.gguf").metadata
        tokens = metadata["tokenizer.ggml.tokens"]
        self.assertEqual(len(tokens), 16384)
        self.assertEqual(tokens[:len(bpe.SPECIALS)], bpe.SPECIALS)
        made = [merge.replace(" ", "") for merge in metadata["tokenizer.ggml.merges"]]
        self.assertEqual(tokens[len(bpe.SPECIALS) + 256:], made)


if __name__ == "__main__":
    unittest.main()
