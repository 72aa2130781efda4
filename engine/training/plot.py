"""The loss curve of a run as a picture: plot.py LOG.jsonl OUT.png"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 - the backend is chosen first


def main():
    log, out = sys.argv[1:]
    lines = [json.loads(line) for line in pathlib.Path(log).read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    figure, axes = plt.subplots(figsize=(9, 5))
    axes.plot([s["tokens"] / 1e6 for s in steps], [s["loss"] for s in steps], lw=0.8, color="0.6", label="training")
    held = [line for line in lines if line.get("heldout")]
    for language in sorted({k for line in held for k in line["heldout"]}):
        axes.plot([h["tokens"] / 1e6 for h in held], [h["heldout"][language] for h in held], lw=1.2, label=language)
    axes.set_xlabel("tokens seen, millions")
    axes.set_ylabel("loss, nats a token")
    axes.set_ylim(0.5, 4)
    axes.grid(alpha=0.3)
    axes.legend(ncol=3, fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main()
