"""Shards packed into rows once, for runs that must see exactly the same data.

    rows.py SHARDS OUT --rows 20480 [--length 2048] [--seed 1] [--heldout]

Writes arrays [n_rows, length] of raw little-endian numbers: tokens i16, loss u8, doc i16 (the
document's number in its row, -1 for padding), place i32; labels and shuffled i32 [..., 2] (scope and
last, and those of structure.shuffled()); path and shuffled_path i64 (structure.path_codes()); and
meta.json. With --heldout every document is packed once, and documents.npz says where each is.
"""
import argparse
import json
import multiprocessing
import pathlib

import numpy as np

import structure
from shards import Packer, Shard, find_shards

ARRAYS = {"tokens": (np.int16, ()), "loss": (np.uint8, ()), "doc": (np.int16, ()), "place": (np.int32, ()),
          "labels": (np.int32, (2,)), "shuffled": (np.int32, (2,)), "path": (np.int64, ()),
          "shuffled_path": (np.int64, ())}


def finish_row(row, seed):
    """A row of Packer with labels -> the arrays above. Documents are treated apart."""
    n = len(row["tokens"])
    out = {name: np.zeros((n, *shape), kind) for name, (kind, shape) in ARRAYS.items()}
    out["tokens"][:] = row["tokens"]
    out["loss"][:] = row["loss"]
    out["doc"][:] = row["doc"]
    out["labels"][:] = row["labels"][:, :2]
    out["place"][:] = row["labels"][:, 2]
    rng = np.random.default_rng(seed)
    for begin, end in document_bounds(row["doc"]):
        at = slice(begin, end)
        true = row["labels"][at]
        other = structure.shuffled(true, row["tokens"][at], rng)
        out["shuffled"][at] = other[:, :2]
        out["path"][at] = structure.path_codes(true)
        out["shuffled_path"][at] = structure.path_codes(other)
    return out


def _finish(job):
    return finish_row(*job)


def write(rows, folder, seed, count):
    """Streams `rows` (an iterator of Packer's rows) to `folder`; returns how many there were."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: open(folder / f"{name}.bin", "wb") for name in ARRAYS}
    jobs = ((row, [seed, i]) for i, row in zip(range(count), rows))
    made = length = 0
    with multiprocessing.Pool() as pool:
        for out in pool.imap(_finish, jobs, chunksize=16):
            for name, file in files.items():
                file.write(np.ascontiguousarray(out[name]))
            made, length = made + 1, len(out["tokens"])
    for file in files.values():
        file.close()
    (folder / "meta.json").write_text(json.dumps({"rows": made, "length": length, "seed": seed}))
    return made


def read(folder):
    """{name: array [n_rows, length, ...], mapped}."""
    folder = pathlib.Path(folder)
    meta = json.loads((folder / "meta.json").read_text())
    return {name: np.memmap(folder / f"{name}.bin", kind, "r", shape=(meta["rows"], meta["length"], *shape))
            for name, (kind, shape) in ARRAYS.items()}


def brackets(arrays, net):
    """int8 [n_rows, length]: structure.brackets_open() of every document of packed rows; net: net_brackets()."""
    out = np.full(arrays["tokens"].shape, structure.OUTSIDE, np.int8)
    for row, (tokens, doc, place) in enumerate(zip(arrays["tokens"], arrays["doc"], arrays["place"])):
        for begin, end in document_bounds(doc):
            out[row, begin:end] = structure.brackets_open(tokens[begin:end], place[begin:end], net)
    return out


def document_bounds(doc):
    """[(begin, end)] of the documents of a row; doc: their numbers, -1 for padding."""
    edges = [0, *(np.flatnonzero(np.diff(doc)) + 1), len(doc)]
    return [(b, e) for b, e in zip(edges, edges[1:]) if doc[b] >= 0]


def training_rows(shards, length, seed):
    packer = Packer(shards, length, seed, with_labels=True)
    while True:
        yield packer.row()


def heldout_documents(folder, length):
    """[(language, tokens, loss, labels)] of every shard under `folder`, at any depth; longest first."""
    found = []
    for path in sorted(p.parent for p in pathlib.Path(folder).rglob("meta.json")):
        shard = Shard(path)
        for begin, end in zip(shard.docs[:-1], shard.docs[1:]):
            end = min(end, begin + length)
            if end - begin >= 2:
                found.append((path.name, shard.tokens[begin:end], shard.loss[begin:end], shard.labels[begin:end]))
    return sorted(found, key=lambda d: -len(d[1]))


def heldout_rows(documents, length):
    """Rows that hold every document once, first fit, and (row, begin, end) of each document."""
    rows, used, where = [], [], []
    for i, document in enumerate(documents):
        n = len(document[1])
        row = next((r for r in range(max(0, len(rows) - 64), len(rows)) if used[r] + n <= length), None)
        if row is None:
            row = len(rows)
            rows.append([])
            used.append(0)
        where.append((row, used[row], used[row] + n))
        rows[row].append(i)
        used[row] += n

    def fill(items):
        out = {"tokens": np.zeros(length, np.int32), "loss": np.zeros(length, bool),
               "doc": np.full(length, -1, np.int32), "labels": np.zeros((length, 3), np.int32)}
        at = 0
        for number, i in enumerate(items):
            _, tokens, loss, labels = documents[i]
            n = len(tokens)
            out["tokens"][at:at + n], out["loss"][at:at + n] = tokens, loss
            out["loss"][at] = False
            out["doc"][at:at + n], out["labels"][at:at + n] = number, labels
            at += n
        return out
    return [fill(items) for items in rows], np.array(where)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("shards")
    p.add_argument("out")
    p.add_argument("--rows", type=int, default=20480)
    p.add_argument("--length", type=int, default=2048)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--heldout", action="store_true")
    args = p.parse_args()
    out = pathlib.Path(args.out)
    if args.heldout:
        documents = heldout_documents(args.shards, args.length)
        rows, where = heldout_rows(documents, args.length)
        made = write(rows, out, args.seed, len(rows))
        np.savez(out / "documents.npz", where=where, language=np.array([d[0] for d in documents]))
    else:
        made = write(training_rows(args.shards, args.length, args.seed), out, args.seed, args.rows)
    print(f"{made} rows of {args.length} tokens in {out}; shards {[p.name for p in find_shards(args.shards)]}")


if __name__ == "__main__":
    main()
