"""The structure experiment's results: paired differences with intervals, a table and a plot.

    analysis.py merge OUT.jsonl RESULTS.jsonl... [--documents FOLDER]   one line a run, and bootstrap lines
    analysis.py table RESULTS.jsonl          the card's tables, in Markdown
    analysis.py plot RESULTS.jsonl OUT.png   needs Matplotlib

A difference is paired: the same seed, so the same first weights and the same rows in the same order. Its
interval over seeds is Student's, 95 %; the bootstrap resamples held-out documents, with the seeds' mean
difference of each, 2.5 to 97.5 %. --documents: the .npz files of experiment.py.
"""
import argparse
import json
import math
import pathlib

import numpy as np

# Quantile 0.975 of Student's t by degrees of freedom.
T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
BASE = "plain"
FIGURES = {"heldout": "loss", "heldout_middle": "loss in holes", "line": "line", "block": "block", "stop": "stop"}
SUMS = {"heldout": ("nll", "count"), "heldout_middle": ("middle_nll", "middle_count")}


def interval(values):
    """(mean, half width of the 95 % interval of the mean); None where one value says nothing of it."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    return mean, T975[len(values) - 1] * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def paired(runs, variant, base, figure):
    """Differences variant - base of the seeds that both have; runs: {(variant, seed): result}."""
    seeds = sorted(s for v, s in runs if v == variant and (base, s) in runs)
    return [runs[variant, s][figure] - runs[base, s][figure] for s in seeds]


def bootstrap(documents, variant, base, figure, samples=2000, seed=1):
    """(2.5 %, 97.5 %) of the difference over resampled documents; documents: {(variant, seed): arrays}."""
    seeds = sorted(s for v, s in documents if v == variant and (base, s) in documents)
    if not seeds:
        return None
    if figure in SUMS:
        over, under = SUMS[figure]
        count = documents[base, seeds[0]][under].astype(np.float64)
        difference = np.mean([documents[variant, s][over].astype(np.float64) - documents[base, s][over]
                              for s in seeds], 0)
    else:
        hole, lines = documents[base, seeds[0]]["hole"] > 0, documents[base, seeds[0]]["lines"]
        field = "stop" if figure == "stop" else "exact"
        count = (hole & {"line": lines == 0, "block": lines >= 2, "stop": lines >= 0}[figure]).astype(np.float64)
        difference = count * np.mean([documents[variant, s][field].astype(np.float64) - documents[base, s][field]
                                      for s in seeds], 0)
    rng = np.random.default_rng(seed)
    used = np.flatnonzero(count)
    made = []
    for _ in range(samples):
        weight = np.bincount(rng.integers(len(used), size=len(used)), minlength=len(used))
        made.append((difference[used] @ weight) / (count[used] @ weight))
    return [float(x) for x in np.quantile(made, [0.025, 0.975])]


def read(path):
    """({(variant, seed): result}, {(variant, base, figure): [low, high]})."""
    runs, boots = {}, {}
    for line in pathlib.Path(path).read_text().splitlines():
        item = json.loads(line)
        if "bootstrap" in item:
            boots[item["variant"], item["base"], item["figure"]] = item["bootstrap"]
        else:
            runs[item["variant"], item["seed"]] = item
    return runs, boots


def comparisons(runs):
    """(variant, base) pairs: each with the baseline, each true tree with its shuffled twin."""
    variants = list(dict.fromkeys(v for v, _ in runs))
    return ([(v, BASE) for v in variants if v != BASE] +
            [(v, v + "~") for v in variants if v + "~" in variants])


def merge(args):
    runs = {}
    for path in args.results:
        runs.update(read(path)[0])
    lines = [json.dumps(r) for _, r in sorted(runs.items())]
    if args.documents:
        documents = {(v, s): dict(np.load(f)) for v, s in runs
                     if (f := pathlib.Path(args.documents) / f"{v}-{s}.npz").exists()}
        for variant, base in comparisons(runs):
            for figure in FIGURES:
                made = bootstrap(documents, variant, base, figure)
                if made:
                    lines.append(json.dumps({"variant": variant, "base": base, "figure": figure,
                                             "bootstrap": [round(x, 5) for x in made]}))
    pathlib.Path(args.out).write_text("\n".join(lines) + "\n")
    print(f"{len(runs)} runs, {len(lines) - len(runs)} bootstrap intervals")


def signed(value, digits):
    return f"{value:+.{digits}f}".replace("-", "−")


def table(args):
    runs, boots = read(args.results)
    variants = list(dict.fromkeys(v for v, _ in sorted(runs, key=lambda r: (r[0] != BASE, r[0]))))
    print("| variant | seeds | loss | in holes | line, % | block, % | stop, % | tokens/s | attention, ms a step |")
    print("|---|---|---|---|---|---|---|---|---|")
    for v in variants:
        seeds = sorted(s for w, s in runs if w == v)
        cells = [v, str(len(seeds))]
        for figure in FIGURES:
            x = [runs[v, s][figure] for s in seeds]
            scale, digits = (1, 4) if "heldout" in figure else (100, 2)
            spread = f" ± {scale * np.std(x, ddof=1):.{digits}f}" if len(x) > 1 else ""
            cells.append(f"{scale * np.mean(x):.{digits}f}{spread}")
        speed = [runs[v, s] for s in seeds if "tokens_per_second" in runs[v, s]]
        cells.append(f"{speed[0]['tokens_per_second'] / 1e6:.2f} M" if speed else "")
        cells.append(f"{speed[0]['attention_ms']:.1f}" if speed and "attention_ms" in speed[0] else "")
        print("| " + " | ".join(cells) + " |")
    print("\n| difference | seeds | loss | over documents | in holes | over documents | stop, points | over documents |")
    print("|---|---|---|---|---|---|---|---|")
    for v, base in comparisons(runs):
        cells = [f"{v} − {base}", str(len(paired(runs, v, base, "heldout")))]
        for figure, scale, digits in (("heldout", 1, 4), ("heldout_middle", 1, 4), ("stop", 100, 2)):
            mean, half = interval(paired(runs, v, base, figure))
            cells.append(signed(scale * mean, digits) + (f" ± {scale * half:.{digits}f}" if half is not None else ""))
            low_high = boots.get((v, base, figure))
            cells.append(" to ".join(signed(scale * x, digits) for x in low_high) if low_high else "")
        print("| " + " | ".join(cells) + " |")


def plot(args):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    runs, _ = read(args.results)
    pairs = comparisons(runs)
    figure, axes = plt.subplots(1, 3, figsize=(12, 0.34 * len(pairs) + 1.4), sharey=True)
    for ax, name, title in zip(axes, ("heldout", "heldout_middle", "stop"),
                               ("held-out loss, nats a token (left is better)", "the same in holes",
                                "stops at the end, points (right is better)")):
        scale = 100 if name == "stop" else 1
        for y, (v, base) in enumerate(pairs):
            x = [scale * d for d in paired(runs, v, base, name)]
            mean, half = interval(x)
            colour = "tab:orange" if base != BASE else "0.5" if v.endswith("~") else "tab:blue"
            ax.errorbar(mean, -y, xerr=half, fmt="o", color=colour, capsize=3, ms=5)
            ax.plot(x, [-y] * len(x), "|", color=colour, ms=8)
        ax.axvline(0, color="0.3", lw=0.8)
        ax.set_title(title, fontsize=9)
        ax.grid(axis="x", alpha=0.3)
    axes[0].set_yticks([-y for y in range(len(pairs))], [f"{v} − {b}" for v, b in pairs], fontsize=8)
    figure.tight_layout()
    figure.savefig(args.out, dpi=130)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sub = p.add_subparsers(required=True)
    m = sub.add_parser("merge")
    m.add_argument("out")
    m.add_argument("results", nargs="+")
    m.add_argument("--documents")
    m.set_defaults(run=merge)
    for name, run in (("table", table), ("plot", plot)):
        s = sub.add_parser(name)
        s.add_argument("results")
        if name == "plot":
            s.add_argument("out")
        s.set_defaults(run=run)
    args = p.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
