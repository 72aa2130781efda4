"""How much of the attention the structure modes skip, counted on labelled shards.

    skipping.py SHARDS [--length 2048] [--prompts 200] [--window 64 --window 256]

SHARDS: of `cambium-prepare --labels --fim 1 --max-tokens LENGTH`. Counted are fill-in-the-middle prompts
of at least 0.9 LENGTH tokens: `prefill`, the share of causal 64×64 blocks with nothing visible, `keys64`, the
share of keys that no query of a tile of 64 sees (a kernel that gathers keys), `pairs`, the share of single
query-key pairs, and `decode`, the share of keys that the middle's tokens do not read. Prints JSON: for each
mode and window the mean over prompts, and `prefill` by language. A layer that sees everything skips nothing,
so a hybrid's share is the mean over its layers.
"""
import argparse
import json
import pathlib

import numpy as np

import structure
from shards import Shard

MODES = {"prune": structure.ANCESTOR, "own": structure.SAME, "window": -1}


def prompts(folder, length, count, shuffled=False, seed=1):
    """[(language or shard, labels [n, 3], first middle token)] of at most `count` examples with a hole."""
    found = []
    for path in sorted(p.parent for p in pathlib.Path(folder).rglob("meta.json")):
        shard = Shard(path)
        sizes = np.diff(shard.docs)
        for i in np.flatnonzero((sizes >= 0.9 * length) & (sizes <= length)):
            begin, end = shard.docs[i:i + 2]
            found.append((path.name, shard, begin, end))
    picked = np.random.default_rng(seed).permutation(len(found))
    out = []
    for i in picked:
        name, shard, begin, end = found[i]
        ids = np.array(shard.tokens[begin:end])
        first = structure.middle_begin(ids, np.array(shard.labels[begin:end, 2]))
        if first is not None:
            labels = np.array(shard.labels[begin:end])
            if shuffled:
                labels = structure.shuffled(labels, ids, np.random.default_rng([seed, int(i)]))
            out.append((name, labels, first))
        if len(out) == count:
            break
    return out


def counts(labels, first, rule, block=64):
    """{figure: (skipped, all)} of one prompt."""
    n = len(labels)
    blocks = columns = pairs = all_blocks = all_columns = 0
    for begin in range(0, n, block):
        queries = np.arange(begin, min(n, begin + block))
        keys = np.arange(queries[-1] + 1)
        seen = structure.visible(labels, queries, keys, rule)
        here = seen.any(0)
        blocks += int(np.add.reduceat(here, np.arange(0, len(keys), block)).astype(bool).sum())
        columns += int(here.sum())
        pairs += int(seen.sum())
        all_blocks += -(-len(keys) // block)
        all_columns += len(keys)
    read, all_read = structure.decode_counts(labels, rule, (first, n))
    all_pairs = n * (n + 1) // 2
    return {"prefill": 1 - blocks / all_blocks, "keys64": 1 - columns / all_columns,
            "pairs": 1 - pairs / all_pairs, "decode": 1 - read / all_read}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("shards")
    p.add_argument("--length", type=int, default=2048)
    p.add_argument("--prompts", type=int, default=200)
    p.add_argument("--window", type=int, action="append")
    p.add_argument("--scope-window", type=int, default=structure.ENDLESS)
    p.add_argument("--source", default="", help="a name of the data for the output")
    p.add_argument("--sinks", type=int, default=4)
    p.add_argument("--shuffled", action="store_true", help="with the control's tree instead of the true one")
    p.add_argument("--mode", choices=MODES, action="append")
    args = p.parse_args()
    found = prompts(args.shards, args.length, args.prompts, args.shuffled)
    for mode in args.mode or ["prune", "own"]:
        for window in args.window or [64]:
            rule = structure.Rule(window, args.sinks, MODES[mode], args.scope_window)
            made = [counts(labels, first, rule) for _, labels, first in found]
            line = {"source": args.source, "tree": "shuffled" if args.shuffled else "true", "length": args.length, "mode": mode, "window": window,
                    "scope_window": args.scope_window, "prompts": len(made)}
            line.update({k: round(float(np.mean([m[k] for m in made])), 4) for k in made[0]} if made else {})
            names = sorted({name for name, _, _ in found})
            line["by_shard"] = {name: round(float(np.mean([m["prefill"] for m, f in zip(made, found) if f[0] == name])), 3)
                                for name in names} if len(names) > 1 else {}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
