"""Choosing heads to mask, on losses whose best choice is known."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
import heads  # noqa: E402


class HeadsTest(unittest.TestCase):
    def test_the_cheapest_are_masked(self):
        def cost(masked):
            return 2.0 + sum(0.01 * (3 * layer + 7 * head % 5) for layer, head in masked)
        masked, told = heads.choose(cost, 3, 4, 5, 2)
        order = sorted(((0.01 * (3 * layer + 7 * head % 5), (layer, head)) for layer in range(3) for head in range(4)))
        self.assertEqual(masked, {head for _, head in order[:5]})
        self.assertEqual(told[0]["loss"], 2.0)
        self.assertAlmostEqual(told[0]["costs"][2, 1], 0.08)

    def test_a_later_round_sees_what_is_masked(self):
        """Of two heads that can stand in for one another the second is dear once the first is masked."""
        def cost(masked):
            pair = {(0, 0), (0, 1)}
            return 0.1 * len(masked & pair) / 10 + (1.0 if pair <= masked else 0.0) + 0.05 * len(masked - pair)
        masked, _ = heads.choose(cost, 1, 4, 2, 2)
        self.assertEqual(len(masked & {(0, 0), (0, 1)}), 1)
        together, _ = heads.choose(cost, 1, 4, 2, 1)
        self.assertEqual(together, {(0, 0), (0, 1)})

    def test_bits_are_of_query_heads(self):
        self.assertEqual(heads.head_bits({(0, 1), (2, 0), (2, 3)}, 3, 8, 4), [0b1100, 0, 0b11000011])

    def test_impossible_numbers(self):
        for count in (0, 13):
            with self.assertRaises(ValueError):
                heads.choose(lambda masked: 0.0, 3, 4, count, 1)


if __name__ == "__main__":
    unittest.main()
