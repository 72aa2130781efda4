"""How far a training run is, and the learning rate that follows from it. Needs no PyTorch."""
import time


class Clock:
    """Seconds of a run, the same on all its ranks.

    One process reads its own clock. With several, the first one's counts: it is read at look(), which every
    rank calls at the same step, and goes on in a straight line until the next look, so that no step waits for it.
    """

    def __init__(self, of_first=None, before=0.0, now=time.monotonic):
        """of_first(x): the first rank's x on every rank, or None for a process alone; before: seconds already
        used up by an earlier process."""
        self.of_first, self.now = of_first, now
        self.begin = now() - before
        self.step, self.seconds, self.pace = 0, before, 0.0

    def mine(self):
        return self.now() - self.begin

    def look(self, step):
        if self.of_first:
            seconds = self.of_first(self.mine())
            self.pace = (seconds - self.seconds) / max(step - self.step, 1)
            self.step, self.seconds = step, seconds

    def at(self, step):
        return self.seconds + (step - self.step) * self.pace if self.of_first else self.mine()


def progress(seconds, tokens, minutes, most_tokens=0):
    """The share of the run that is over, by what ends it first: its time, or its tokens (0: no such end)."""
    share = seconds / (minutes * 60)
    return max(share, tokens / most_tokens) if most_tokens else share


def rate(share, step, highest, warmup, decay):
    """Learning rate: warm-up in steps, then constant, then linear to 0 over the last `decay` of the run (WSD)."""
    return highest * min(1.0, (step + 1) / warmup, max((1 - share) / decay, 0.0))
