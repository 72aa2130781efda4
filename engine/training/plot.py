"""Figures as pictures.

    plot.py LOG.jsonl OUT.png              the loss curve of a run
    plot.py attention BENCH.json OUT.svg   what `cambium bench --only attention --json` printed
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 - the backend is chosen first


def attention_lines(report):
    """{(what, mask): ([tokens], [value])} of a bench report."""
    lines = {}
    for figure in report["figures"]:
        if figure["section"] != "attention":
            continue
        head, what = figure["name"].split(": ")
        tokens, mask = head.split(" tokens, ")
        x, y = lines.setdefault((what, mask), ([], []))
        x.append(int(tokens))
        y.append(figure["value"])
    return lines


def attention(report, out):
    lines = attention_lines(report)
    panels = [("prefill of a layer", "ms a layer", "log"), ("decode step of a layer", "ms a layer", "log"),
              ("blocks of 64 x 64 skipped", "% skipped", "linear")]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6))
    for ax, (what, unit, scale) in zip(axes, panels):
        for mask in ("off", "prune", "own"):
            if (what, mask) in lines:
                ax.plot(*lines[what, mask], marker="o", ms=3, label=mask)
        ax.set_xscale("log", base=2)
        ax.set_yscale(scale)
        ax.set_title(what, fontsize=10)
        ax.set_xlabel("tokens")
        ax.set_ylabel(unit)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out)


def main():
    if sys.argv[1] == "attention":
        attention(json.loads(pathlib.Path(sys.argv[2]).read_text()), sys.argv[3])
        return
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
