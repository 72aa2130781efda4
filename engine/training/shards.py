"""Training shards: what cambium-prepare writes and train.py reads.

A shard is a folder of raw little-endian arrays:

    tokens.u16   [n_tokens]        token ids
    loss.u8      [n_tokens]        1 where the model is trained to predict this token
    docs.u64     [n_docs + 1]      offset of each document; the last is n_tokens
    labels.i32   [n_tokens, 3]     scope, last, place of each token (engine/attention_mask.h); optional
    meta.json    written last      {"docs": n, "tokens": n, "language": {name: tokens}, ...}

A folder without meta.json is not there yet. A document is one training example of at most
`max_tokens` tokens; it starts with the end-of-text token and never sees its neighbours.
"""
import json
import pathlib

import numpy as np

import structure


class Shard:
    """One shard, mapped; documents are cut from it without a copy."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.meta = json.loads((self.folder / "meta.json").read_text())
        self.tokens = np.memmap(self.folder / "tokens.u16", np.uint16, "r")
        self.loss = np.memmap(self.folder / "loss.u8", np.uint8, "r")
        self.docs = np.fromfile(self.folder / "docs.u64", np.uint64).astype(np.int64)
        labels = self.folder / "labels.i32"
        self.labels = np.memmap(labels, np.int32, "r").reshape(-1, 3) if labels.exists() else None
        n = len(self.tokens)
        if len(self.loss) != n or self.docs[-1] != n or (np.diff(self.docs) < 0).any():
            raise ValueError(f"{self.folder}: arrays disagree: {n} tokens, {len(self.loss)} loss "
                             f"flags, documents up to {self.docs[-1]}")
        if self.labels is not None and len(self.labels) != n:
            raise ValueError(f"{self.folder}: {len(self.labels)} labels for {n} tokens")

    def __len__(self):
        return len(self.docs) - 1


def find_shards(folder):
    """The finished shards under `folder`, in order of name."""
    return sorted(p.parent for p in pathlib.Path(folder).glob("*/meta.json"))


class Packer:
    """Packs documents of the shards that are there into rows of `length` tokens.

    Best fit into `open_rows` rows, so that few tokens are padding; a document is never split. New
    shards are picked up every `REFRESH` rows and at the end of an epoch. The order is a
    function of `seed` and of which shards were there when.
    """

    def __init__(self, folder, length, seed=0, open_rows=64, with_labels=False, only=None,
                 with_paths=False, net=None, shuffle=False):
        self.folder, self.length, self.open_rows = folder, length, open_rows
        self.only = only  # the name of the one shard to take, or None for all
        self.with_labels, self.with_paths, self.net, self.shuffle = with_labels, with_paths, net, shuffle
        self.rng = np.random.default_rng(seed)
        self.shards, self.names = [], set()
        self.epochs = 0
        self.made = 0  # rows so far
        self.queue = np.zeros((0, 2), np.int64)  # (shard, document) still to come
        self.rows = []                           # open rows: [[(shard, document)...], tokens used]
        self.refresh()
        if not self.shards:
            raise FileNotFoundError(f"no finished shard under {folder}")

    def refresh(self):
        """Adds the documents of shards that appeared since; True if there were any."""
        fresh = [p for p in find_shards(self.folder)
                 if p.name not in self.names and self.only in (None, p.name)]
        for path in fresh:
            shard = Shard(path)
            if self.with_labels and shard.labels is None:
                raise ValueError(f"{path}: no labels.i32; prepare it with --labels")
            self.names.add(path.name)
            self.shards.append(shard)
            self._enqueue([len(self.shards) - 1])
        return bool(fresh)

    def _enqueue(self, which):
        parts = [np.stack([np.full(len(self.shards[s]), s), np.arange(len(self.shards[s]))], 1)
                 for s in which]
        queue = np.concatenate([self.queue, *parts])
        self.queue = queue[self.rng.permutation(len(queue))]

    def _next_document(self):
        if not len(self.queue):
            self.epochs += 1
            if not self.refresh():
                self._enqueue(range(len(self.shards)))
        item, self.queue = self.queue[-1], self.queue[:-1]
        return item

    REFRESH = 4096

    def row(self):
        """One packed row: dict of tokens, loss, doc [length]; with labels also labels [length, 3]; where `net`
        is given, structure.net_brackets(), also brackets [length]. shuffle: the control's labels, structure.shuffled().

        `doc` numbers the documents of the row from 0; padding is -1. loss[i] says whether token i is
        to be predicted (from i - 1), so it is 0 on a document's first token.
        """
        while True:
            shard, doc = self._next_document()
            docs = self.shards[shard].docs
            n = int(min(docs[doc + 1] - docs[doc], self.length))
            if n < 2:
                continue
            fits = [r for r in self.rows if r[1] + n <= self.length]
            if fits:
                best = max(fits, key=lambda r: r[1])
                best[0].append((shard, doc))
                best[1] += n
                if best[1] > self.length - 16:
                    self.rows.remove(best)
                    return self._fill(best[0])
            else:
                self.rows.append([[(shard, doc)], n])
                if len(self.rows) > self.open_rows:
                    fullest = max(self.rows, key=lambda r: r[1])
                    self.rows.remove(fullest)
                    return self._fill(fullest[0])

    def _fill(self, items):
        out = {"tokens": np.zeros(self.length, np.int32), "loss": np.zeros(self.length, bool),
               "doc": np.full(self.length, -1, np.int32)}
        if self.with_labels:
            out["labels"] = np.zeros((self.length, 3), np.int32)
        if self.with_paths:
            out["path"] = np.zeros(self.length, np.int64)
        if self.net is not None:
            out["brackets"] = np.full(self.length, structure.OUTSIDE, np.int8)
        at = 0
        for i, (s, d) in enumerate(items):
            shard = self.shards[s]
            begin = int(shard.docs[d])
            end = min(int(shard.docs[d + 1]), begin + self.length)
            n = end - begin
            out["tokens"][at:at + n] = shard.tokens[begin:end]
            out["loss"][at:at + n] = shard.loss[begin:end]
            out["loss"][at] = False
            out["doc"][at:at + n] = i
            labels = shard.labels[begin:end] if self.with_labels else None
            if self.shuffle:
                labels = structure.shuffled(labels, out["tokens"][at:at + n], np.random.default_rng([s, d]))
            if self.with_labels:
                out["labels"][at:at + n] = labels
            if self.with_paths:
                out["path"][at:at + n] = structure.path_codes(labels)
            if self.net is not None:
                out["brackets"][at:at + n] = structure.brackets_open(out["tokens"][at:at + n],
                                                                     shard.labels[begin:end, 2], self.net)
            at += n
        return out

    def batch(self, rows):
        """dict of arrays [rows, length, ...]."""
        before, self.made = self.made, self.made + rows
        if before // self.REFRESH != self.made // self.REFRESH:
            self.refresh()
        made = [self.row() for _ in range(rows)]
        return {k: np.stack([m[k] for m in made]) for k in made[0]}
