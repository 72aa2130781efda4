"""When a run ends, at which rate it learns, and that all its ranks are of one mind about it."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "engine" / "training"))
from schedule import Clock, progress, rate  # noqa: E402


class ScheduleTest(unittest.TestCase):
    def test_what_comes_first_ends_the_run(self):
        self.assertEqual(progress(30, 0, minutes=1), 0.5)
        self.assertEqual(progress(30, 900, minutes=1, most_tokens=1000), 0.9)
        self.assertEqual(progress(57, 100, minutes=1, most_tokens=1000), 0.95)

    def test_the_rate_rises_stays_and_falls_to_nothing(self):
        at = lambda share, step: rate(share, step, highest=2.0, warmup=10, decay=0.25)  # noqa: E731
        self.assertEqual(at(0.0, 0), 0.2)
        self.assertEqual(at(0.1, 9), 2.0)
        self.assertEqual(at(0.75, 500), 2.0)
        self.assertEqual(at(0.875, 500), 1.0)
        self.assertEqual(at(1.0, 500), 0.0)
        self.assertEqual(at(1.5, 500), 0.0)


class ClockTest(unittest.TestCase):
    def test_alone_it_is_the_clock_on_the_wall(self):
        wall = [100.0]
        clock = Clock(before=5.0, now=lambda: wall[0])
        wall[0] = 103.0
        self.assertEqual(clock.at(1), 8.0)
        clock.look(1)
        self.assertEqual(clock.at(7), 8.0)

    def test_ranks_agree_at_every_step_whatever_their_own_clocks_say(self):
        walls = [[0.0], [0.0]]
        told = []
        first = Clock(lambda x: told.append(x) or x, now=lambda: walls[0][0])
        second = Clock(lambda x: told[-1], now=lambda: walls[1][0])
        for step, (a, b) in {25: (50.0, 55.0), 50: (60.0, 63.0), 75: (71.0, 70.0)}.items():
            walls[0][0], walls[1][0] = a, b
            first.look(step)
            second.look(step)
            for ahead in (0, 1, 24):
                self.assertEqual(first.at(step + ahead), second.at(step + ahead))
            self.assertEqual(first.at(step), a)
        self.assertAlmostEqual(first.at(100), 82.0)  # goes on at the pace of the last stretch


if __name__ == "__main__":
    unittest.main()
