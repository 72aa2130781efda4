"""Figures as pictures.

    plot.py LOG.jsonl… OUT.png             the loss curve of a run, or of one that went on in others
    plot.py attention BENCH.json OUT.svg   what `cambium bench --only attention --json` printed
    plot.py review REVIEW.json OUT.svg     what `cambium eval --review --json` printed
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
        for i, mask in enumerate(("off", "prune", "own")):
            if (what, mask) in lines:
                ax.plot(*lines[what, mask], marker="o", ms=3, label=mask, color=f"C{i}")  # the same in every panel
        ax.set_xscale("log", base=2)
        ax.set_yscale(scale)
        ax.set_title(what, fontsize=10)
        ax.set_xlabel("tokens")
        ax.set_ylabel(unit)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out)


def review_lines(report, fewest=8):
    """{curve: (recall, precision, false findings per 1,000 lines)}, by falling level; kinds with fewer than
    `fewest` slips say nothing."""
    lines = {}
    for name, points in report["curves"].items():
        if points and report["kinds"].get(name, {}).get("slips", fewest) >= fewest:
            points = sorted(points, key=lambda p: -p["level"])
            lines[name] = tuple([p[key] for p in points] for key in ("recall", "precision", "falsePer1000Lines"))
    return lines


def review(report, out):
    figure, (quality, cost) = plt.subplots(1, 2, figsize=(12, 4.4))
    marked = {"all": dict(color="k", lw=2.2), "name": dict(color="C0", lw=2.2), "shuffled": dict(color="0.5", ls="--"),
              "length only": dict(color="0.5", ls=":")}
    for name, (recall, precision, false) in review_lines(report).items():
        style = marked.get(name, dict(lw=0.9, alpha=0.8))
        quality.plot(recall, precision, label=name, **style)
        cost.plot(recall, false, label=name, **style)
    for name in ("all", "name"):
        row = report["all"] if name == "all" else report["kinds"][name]
        if row["reported"]:
            quality.plot(row["recall"], row["precision"], "o", color=marked[name]["color"])
            cost.plot(row["recall"], row["falsePer1000Lines"], "o", color=marked[name]["color"])
    quality.set_ylabel("precision")
    quality.set_ylim(0, 1.02)
    cost.set_ylabel("false findings per 1,000 clean lines")
    cost.set_yscale("symlog", linthresh=1)
    cost.axhline(1, color="0.7", lw=0.8)
    for ax in (quality, cost):
        ax.set_xlabel("recall as the level falls (dots: what is reported)")
        ax.set_xlim(0, 1)
        ax.grid(alpha=0.3)
    quality.legend(fontsize=7, ncol=2)
    figure.tight_layout()
    figure.savefig(out)


def main():
    if sys.argv[1] == "review":
        review(json.loads(pathlib.Path(sys.argv[2]).read_text()), sys.argv[3])
        return
    if sys.argv[1] == "attention":
        attention(json.loads(pathlib.Path(sys.argv[2]).read_text()), sys.argv[3])
        return
    *logs, out = sys.argv[1:]
    lines, before = [], 0
    for log in logs:
        more = [json.loads(line) for line in pathlib.Path(log).read_text().splitlines()]
        lines += [{**line, "tokens": line["tokens"] + before} for line in more]
        before = lines[-1]["tokens"]
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
