"""The parent mask in NumPy: what it skips, its shuffled control, and paths for tree positions.

The twin of engine/attention_mask.h for data and statistics. A document's labels are an array
[n, 3] of scope, last, place in the order of its tokens (shards.py).
"""
import dataclasses
import json
import pathlib

import numpy as np

SPECIALS = 16  # ids below are special tokens (bpe.py)
MIDDLE, END = 3, 4  # <|fim_middle|>, <|fim_end|>
LEVELS = 5     # scopes of a path, below the file's, that tree positions tell apart
STEPS = 4      # up or down the tree: 0, 1, 2, 3 or more
CLASSES = STEPS * STEPS
_BITS = 10     # of a scope's rank in a path code
SAME, ANCESTOR, OTHER = 0, 1, 2
OPEN_LEAST, OPEN_MOST, OUTSIDE = 3, 4, 5  # brackets_open()
ENDLESS = 2**31 - 1  # a window that hides nothing


@dataclasses.dataclass(frozen=True)
class Rule:
    """PruneRule of engine/attention_mask.h; `reach` is the largest relation that is visible up to
    `scope_window` places away: ANCESTOR for `prune`, SAME for `own`, OTHER for everything."""
    window: int = 256
    sinks: int = 4
    reach: int = ANCESTOR
    scope_window: int = ENDLESS


def relation(labels, queries, keys):
    """[len(queries), len(keys)] of key to query; both index labels."""
    scope, last = labels[:, 0], labels[:, 1]
    q, k = scope[queries][:, None], scope[keys][None]
    on_path = (k <= q) & (q <= last[keys][None])
    return np.where(q == k, SAME, np.where(on_path, ANCESTOR, OTHER))


def visible(labels, queries, keys, rule):
    """bool [len(queries), len(keys)], causal; queries and keys are ascending indices of a document."""
    place = labels[:, 2]
    distance = np.abs(place[queries][:, None] - place[keys][None])
    related = (relation(labels, queries, keys) <= rule.reach) & (distance <= rule.scope_window)
    seen = related | (distance <= rule.window) | (keys[None] < rule.sinks)
    return seen & (keys[None] <= queries[:, None])


def block_counts(labels, rule, block=64):
    """(blocks with something visible, causal blocks) of a prefill of the whole document."""
    n, seen, causal = len(labels), 0, 0
    for begin in range(0, n, block):
        queries = np.arange(begin, min(n, begin + block))
        keys = np.arange(queries[-1] + 1)
        starts = np.arange(0, len(keys), block)
        columns = visible(labels, queries, keys, rule).any(0)
        seen += int(np.add.reduceat(columns, starts).astype(bool).sum())
        causal += len(starts)
    return seen, causal


def decode_counts(labels, rule, middle):
    """(keys read, keys a plain model reads) of decoding tokens `middle` (a range of indices)."""
    queries = np.arange(*middle)
    if not len(queries):
        return 0, 0
    seen = visible(labels, queries, np.arange(queries[-1] + 1), rule)
    return int(seen.sum()), int((queries + 1).sum())


def shuffled(labels, tokens, rng):
    """The control: the document's own labels laid over its text at a random offset.

    In the order of the text (by place, not by sequence) the labels of all but the special tokens
    turn as a ring by a quarter to three quarters of the document. Which labels there are, how
    often, in which runs and how nested stays as it was, and so on average does what the mask skips
    (what it skipped is counted, not assumed); only which token stands in which scope is now wrong.
    Places stay, so the window is the true one.
    """
    text = np.flatnonzero(tokens >= SPECIALS)
    out = labels.copy()
    if len(text) < 4:
        return out
    order = text[np.argsort(labels[text, 2], kind="stable")]
    turn = int(rng.integers(len(order) // 4, 3 * len(order) // 4 + 1))
    out[order, :2] = np.roll(labels[order, :2], turn, axis=0)
    return out


def middle_begin(ids, place):
    """Index of the middle's first token, or None if the example has no whole hole. The middle stands at the
    end and at one place, the cursor's; in suffix-prefix-middle order no marker precedes it."""
    if ids[-1] != END or MIDDLE not in ids:
        return None
    other = np.flatnonzero(place != place[-1])
    first = int(other[-1]) + 1 if len(other) else 0
    return max(first, int(np.flatnonzero(ids == MIDDLE)[-1]) + 1)


def token_names(vocabulary):
    """The tokens' texts, as byte-level BPE writes them; vocabulary: path of the JSON file."""
    return json.loads(pathlib.Path(vocabulary).read_text())["tokens"]


def net_brackets(names):
    """int32 [n_vocab]: brackets opened less closed by each token's text."""
    return np.array([sum(t.count(c) for c in "([{") - sum(t.count(c) for c in ")]}") for t in names], np.int32)


def brackets_open(ids, place, net):
    """int8 [n]: how many brackets the middle has open after each of its tokens, from -OPEN_LEAST for that many
    or more closed that it did not open, to OPEN_MOST; OUTSIDE for a token that is not of a middle. Known while
    the middle is written: nothing behind a token counts.

    net: net_brackets(). Strings and comments count too."""
    out = np.full(len(ids), OUTSIDE, np.int8)
    start = middle_begin(ids, place)
    if start is not None:
        out[start:-1] = np.clip(np.cumsum(net[ids[start:-1]]), -OPEN_LEAST, OPEN_MOST)
    return out


def path_codes(labels):
    """int64 [n]: each token's path below the file's scope, for tree positions.

    The scopes named by the document's labels are ranked by number; a token's code holds the ranks
    (from 1, 10 bits each) of the first LEVELS scopes that enclose it, outermost lowest, and above
    them its depth, at most LEVELS."""
    scopes, first, inverse = np.unique(labels[:, 0], return_index=True, return_inverse=True)
    last = labels[first, 1]
    if len(scopes) >= 1 << _BITS:
        raise ValueError(f"{len(scopes)} scopes in a document; {(1 << _BITS) - 1} can be told apart")
    inside = (scopes[:, None] >= scopes) & (scopes[:, None] <= last) & (scopes != 0)
    codes = np.zeros(len(scopes), np.int64)
    for i, row in enumerate(inside):
        path = np.flatnonzero(row)[:LEVELS]
        codes[i] = len(path) << LEVELS * _BITS
        for level, rank in enumerate(path):
            codes[i] |= (int(rank) + 1) << level * _BITS
    return codes[inverse.reshape(-1)]


def path_levels(codes):
    """(rank at level 0, ..., rank at level LEVELS - 1, depth) of path codes, arrays or tensors."""
    mask = (1 << _BITS) - 1
    return (*((codes >> level * _BITS) & mask for level in range(LEVELS)), codes >> LEVELS * _BITS)


def tree_class(q, k):
    """STEPS·up + down: steps from the query's scope up to the common ancestor, and from there down to
    the key's. q, k: path_levels(), broadcast against each other; arrays or tensors."""
    common = 0
    for level in range(LEVELS):
        common = common + ((q[level] == k[level]) & (q[level] > 0)) * 1
    up, down = q[LEVELS] - common, k[LEVELS] - common
    up = up - (up >= STEPS) * (up - (STEPS - 1))
    down = down - (down >= STEPS) * (down - (STEPS - 1))
    return up * STEPS + down
