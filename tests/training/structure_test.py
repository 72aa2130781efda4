"""The mask, its shuffled control, paths, and rows that hold them."""
import json
import pathlib
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import rows  # noqa: E402
import structure  # noqa: E402
from structure import Rule  # noqa: E402

FILE, CLASS, GET, SET, OTHER = (0, 999), (10, 39), (20, 25), (30, 35), (50, 59)


def labels(*scopes):
    """One token a scope, in the order of the text."""
    return np.array([(*s, i) for i, s in enumerate(scopes)], np.int32)


def random_labels(rng, n):
    """Labels of a random tree in document order; places count up."""
    stack, out, number = [(0, 10**6)], [], 0
    for i in range(n):
        if rng.random() < 0.15 and len(stack) < 8:
            number += 10
            stack.append((number, number))
        elif rng.random() < 0.15 and len(stack) > 1:
            stack.pop()
        out.append([s[0] for s in stack])
    last = {}
    for path in out:
        for scope in path:
            last[scope] = max(last.get(scope, 0), path[-1])
    return np.array([(p[-1], last[p[-1]] if p[-1] else 10**6, i) for i, p in enumerate(out)], np.int32), out


class StructureTest(unittest.TestCase):
    def test_relations(self):
        made = structure.relation(labels(FILE, CLASS, GET, SET, OTHER), np.arange(5), np.arange(5))
        np.testing.assert_array_equal(made, [[0, 2, 2, 2, 2], [1, 0, 2, 2, 2], [1, 1, 0, 2, 2],
                                             [1, 1, 2, 0, 2], [1, 2, 2, 2, 0]])

    def test_what_is_visible(self):
        text = labels(FILE, GET, GET, CLASS, SET, SET)
        at = np.arange(6)
        for rule, query, want in [(Rule(0, 0), 5, [1, 0, 0, 1, 1, 1]), (Rule(0, 2), 5, [1, 1, 0, 1, 1, 1]),
                                  (Rule(3, 0), 5, [1, 0, 1, 1, 1, 1]), (Rule(0, 0, structure.SAME), 5, [0, 0, 0, 0, 1, 1]),
                                  (Rule(1, 0, -1), 3, [0, 0, 1, 1, 0, 0]), (Rule(0, 0, structure.OTHER), 4, [1, 1, 1, 1, 1, 0])]:
            seen = structure.visible(text, at, at, rule)[query]
            np.testing.assert_array_equal(seen, np.array(want, bool), str(rule))

    def test_counts_agree_with_the_whole_matrix(self):
        rng = np.random.default_rng(5)
        for n in (1, 64, 150, 300):
            text, _ = random_labels(rng, n)
            for rule in (Rule(8, 2), Rule(0, 0, structure.SAME), Rule(20, 0, -1)):
                at = np.arange(n)
                seen = structure.visible(text, at, at, rule)
                blocks = {(q // 16, k // 16) for q, k in zip(*np.nonzero(seen))}
                tiles = -(-n // 16)
                self.assertEqual(structure.block_counts(text, rule, 16), (len(blocks), tiles * (tiles + 1) // 2))
                self.assertEqual(structure.decode_counts(text, rule, (n // 2, n)),
                                 (seen[n // 2:].sum(), sum(range(n // 2 + 1, n + 1))))

    def test_a_shuffled_tree_keeps_its_labels_and_their_runs(self):
        rng = np.random.default_rng(6)
        text, _ = random_labels(rng, 400)
        tokens = rng.integers(structure.SPECIALS, 999, 400)
        tokens[:3] = [0, 5, 2]
        order = rng.permutation(400)  # as suffix before prefix
        out = structure.shuffled(text[order], tokens[order], rng)
        np.testing.assert_array_equal(out[:, 2], text[order][:, 2], "places stay")
        back = np.empty_like(out)
        back[order] = out
        np.testing.assert_array_equal(back[:3], text[:3], "special tokens stay")
        turns = [t for t in range(397) if (np.roll(text[3:, :2], t, 0) == back[3:, :2]).all()]
        self.assertTrue(turns, "the labels are a ring that was turned")
        self.assertGreaterEqual(min(turns), 397 // 4)
        self.assertLess((back[:, 0] == text[:, 0]).mean(), 0.9)

    def test_tree_classes_by_walking_the_tree(self):
        rng = np.random.default_rng(7)
        text, paths = random_labels(rng, 200)
        levels = structure.path_levels(structure.path_codes(text))
        made = structure.tree_class(tuple(x[:, None] for x in levels), levels)
        for q in range(200):
            for k in range(200):
                a, b = (p[1:structure.LEVELS + 1] for p in (paths[q], paths[k]))
                common = sum(x == y for x, y in zip(a, b))
                up, down = (min(structure.STEPS - 1, len(p) - common) for p in (a, b))
                self.assertEqual(made[q, k], structure.STEPS * up + down)

    def test_open_brackets_are_counted_in_the_middle_alone_and_within_bounds(self):
        names = ["x"] * 40
        names[20], names[21], names[22] = "f(", "])", "{}"
        net = structure.net_brackets(names)
        self.assertEqual([*net[19:24]], [0, 1, -2, 0, 0])
        head = [0, 20, structure.MIDDLE]
        out = structure.OUTSIDE
        for middle, want in (([20, 20, 30, 21], [1, 2, 2, 0]), ([21, 21, 20], [-2, -3, -3]), ([20] * 6, [1, 2, 3, 4, 4, 4]),
                             ([], [])):
            ids = np.array([*head, *middle, structure.END])
            place = np.array([0, 1, *[2] * (len(middle) + 2)], np.int32)
            made = structure.brackets_open(ids, place, net)
            self.assertEqual(made.tolist(), [out] * 3 + want + [out])
        whole = np.array([0, 20, 21])
        self.assertEqual(structure.brackets_open(whole, np.arange(3), net).tolist(), [out] * 3)


class RowsTest(unittest.TestCase):
    def test_brackets_are_counted_a_document_at_a_time(self):
        net = np.zeros(40, np.int32)
        net[20] = 1
        first, second = [0, structure.MIDDLE, 20, 20, structure.END], [0, structure.MIDDLE, 20, structure.END]
        doc = np.array([0] * 5 + [1] * 4 + [-1] * 2)
        arrays = {"tokens": np.array([first + second + [20, 20]]), "doc": doc[None],
                  "place": np.array([[0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0]])}
        self.assertEqual(rows.document_bounds(doc), [(0, 5), (5, 9)])
        out = structure.OUTSIDE
        self.assertEqual(rows.brackets(arrays, net).tolist(), [[out, out, 1, 2, out, out, out, 1, out, out, out]])

    def test_documents_keep_their_own_statistics_and_come_once(self):
        rng = np.random.default_rng(8)
        with tempfile.TemporaryDirectory() as folder:
            shard = pathlib.Path(folder) / "in" / "python"
            shard.mkdir(parents=True)
            sizes = rng.integers(2, 60, 40)
            made = [random_labels(rng, n)[0] for n in sizes]
            tokens = [np.full(n, 100 + i, np.uint16) for i, n in enumerate(sizes)]
            np.concatenate(tokens).tofile(shard / "tokens.u16")
            np.ones(sizes.sum(), np.uint8).tofile(shard / "loss.u8")
            np.concatenate(made).astype(np.int32).tofile(shard / "labels.i32")
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.uint64).tofile(shard / "docs.u64")
            (shard / "meta.json").write_text(json.dumps({"docs": 40}))
            documents = rows.heldout_documents(pathlib.Path(folder) / "in", 64)
            packed, where = rows.heldout_rows(documents, 64)
            out = pathlib.Path(folder) / "out"
            rows.write(packed, out, 3, len(packed))
            arrays = rows.read(out)
            self.assertEqual(len(where), 40)
            for (row, begin, end), (language, ids, _, label) in zip(where, documents):
                self.assertEqual(language, "python")
                np.testing.assert_array_equal(arrays["tokens"][row, begin:end], ids)
                np.testing.assert_array_equal(arrays["labels"][row, begin:end], label[:, :2])
                np.testing.assert_array_equal(np.sort(arrays["shuffled"][row, begin:end, 0]), np.sort(label[:, 0]))
                np.testing.assert_array_equal(arrays["path"][row, begin:end], structure.path_codes(label))
                self.assertEqual(arrays["loss"][row, begin], 0)


if __name__ == "__main__":
    unittest.main()
