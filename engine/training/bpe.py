"""Trains the byte-level byte-pair vocabulary (Sennrich et al. 2016; byte alphabet as in GPT-2).

    bpe.py CONTAINER… --out vocabulary.json [--size 16384] [--sample-mb 150]

Text is split as the pre-tokenizer "starcoder" does (single digits, then GPT-2's rule), words are
counted, and the most frequent adjacent pair is merged until the vocabulary is full; only the words
that hold the pair are touched. The result does not depend on the order of the input.

Needs only the standard library.
"""

import argparse
import collections
import heapq
import json
import pathlib
import re
import sys
import unicodedata

SPECIALS = ["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_end|>",
            "<|file_name|>"] + [f"<|reserved_{i}|>" for i in range(10)]

# Numbers that \d does not know (½, Ⅷ): \p{N} has them, and \w would count them as letters.
_OTHER_NUMBERS = "".join(c for c in map(chr, range(0x110000))
                         if unicodedata.category(c) in ("Nl", "No") or
                         (unicodedata.category(c) == "Nd" and not c.isdecimal()))
_N, _L = rf"[\d{_OTHER_NUMBERS}]", rf"[^\W\d_{_OTHER_NUMBERS}]"
_S = r"[^\S\x1c-\x1f]"  # Python alone takes these four for white space
_PIECE = re.compile(rf"{_N}|'s|'t|'re|'ve|'m|'ll|'d| ?{_L}+| ?(?:[^\s\w]|[_\x1c-\x1f])+|"
                    rf"{_S}+(?={_S}|{_N}|\Z)|{_S}+")
_ASCII = re.compile(r"[0-9]|'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[^\sA-Za-z0-9]+|"
                    r"\s+(?=\s|[0-9]|\Z)|\s+", re.ASCII)


def split(text):
    """The pieces of a text that merges never cross, in order."""
    return (_ASCII if text.isascii() else _PIECE).findall(text)


def byte_alphabet():
    """A printable character for every byte, GPT-2's."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 0
    for b in range(256):
        if b in printable:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


def train(words, n_merges, max_bytes=32):
    """words: {bytes: count}. Returns (pieces, merges): bytes of every id from 256 on in the order made,
    and the pairs of ids; ids below 256 are bytes. Ties go to the pair that is smaller by its bytes."""
    pieces = [bytes([b]) for b in range(256)]
    sequences, counts = [], []
    pairs = collections.Counter()
    where = collections.defaultdict(set)
    for word in sorted(words):
        if len(word) < 2:
            continue
        count, ids, index = words[word], list(word), len(sequences)
        sequences.append(ids)
        counts.append(count)
        for pair in zip(ids, ids[1:]):
            pairs[pair] += count
            where[pair].add(index)

    def entry(pair):
        return (-pairs[pair], pieces[pair[0]], pieces[pair[1]], pair)
    heap = [entry(p) for p in pairs]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < n_merges:
        top = heapq.heappop(heap)
        pair = top[3]
        count = pairs.get(pair, 0)
        if count != -top[0]:
            if count > 0:
                heapq.heappush(heap, entry(pair))
            continue
        if count < 2:
            break
        a, b = pair
        if len(pieces[a]) + len(pieces[b]) > max_bytes:
            del pairs[pair]
            continue
        new = len(pieces)
        pieces.append(pieces[a] + pieces[b])
        merges.append(pair)
        changed = set()
        for index in where.pop(pair):
            ids, n = sequences[index], counts[index]
            for p in zip(ids, ids[1:]):
                pairs[p] -= n
            out, i, last = [], 0, len(ids) - 1
            while i <= last:
                if i < last and ids[i] == a and ids[i + 1] == b:
                    out.append(new)
                    i += 2
                else:
                    out.append(ids[i])
                    i += 1
            sequences[index] = out
            for p in zip(out, out[1:]):
                pairs[p] += n
                if p[0] == new or p[1] == new:
                    where[p].add(index)
                    changed.add(p)
        pairs.pop(pair, None)
        for p in changed:
            heapq.heappush(heap, entry(p))
    return pieces, merges


def encode(word, ranks):
    """Ids of one piece by the merges in order of rank; {(id, id): (rank, id)}."""
    ids = list(word)
    while len(ids) > 1:
        best = min(zip(ids, ids[1:]), key=lambda p: ranks.get(p, (1 << 30, 0))[0])
        if best not in ranks:
            break
        out, i = [], 0
        while i < len(ids):
            if i + 1 < len(ids) and (ids[i], ids[i + 1]) == best:
                out.append(ranks[best][1])
                i += 2
            else:
                out.append(ids[i])
                i += 1
        ids = out
    return ids


def vocabulary(pieces, merges):
    """As GGUF has it: specials, the 256 bytes, then a token a merge."""
    table = byte_alphabet()

    def spell(piece):
        return "".join(table[b] for b in piece)
    return {"specials": SPECIALS, "tokens": SPECIALS + [spell(p) for p in pieces],
            "merges": [f"{spell(pieces[a])} {spell(pieces[b])}" for a, b in merges]}


def text_of(tokens, ids):
    """The text of `ids`, tokens as in vocabulary(); a special token shows its name."""
    back = {c: b for b, c in byte_alphabet().items()}
    out = b""
    for i in ids:
        name = tokens[int(i)]
        out += name.encode() if int(i) < len(SPECIALS) else bytes(back[c] for c in name)
    return out.decode("utf-8", "replace")


def count_words(containers, sample_bytes):
    """Words of a sample in which every language has its share, half by bytes and half evenly."""
    from container import read_records
    words, seen, totals = collections.Counter(), collections.Counter(), collections.Counter()
    for path in containers:
        with open(path, "rb") as stream:
            for name, text in read_records(stream):
                totals[name.split("/")[0]] += len(text)
    share = {k: min(1.0, sample_bytes * (0.5 / len(totals) + 0.5 * v / sum(totals.values())) / v)
             for k, v in totals.items()}
    read = collections.Counter()
    for path in containers:
        with open(path, "rb") as stream:
            for name, text in read_records(stream):
                language = name.split("/")[0]
                read[language] += len(text)
                if seen[language] < share[language] * read[language]:
                    seen[language] += len(text)
                    words.update(split(text))
    print({k: round(v / 1e6, 1) for k, v in seen.most_common()}, len(words), "words", file=sys.stderr)
    return words


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("containers", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--sample-mb", type=float, default=150)
    parser.add_argument("--min-count", type=int, default=4)
    args = parser.parse_args()
    words = count_words(args.containers, args.sample_mb * 1e6)
    kept = {w.encode("utf-8", "surrogatepass"): c for w, c in words.items() if c >= args.min_count}
    del words
    pieces, merges = train(kept, args.size - len(SPECIALS) - 256)
    made = vocabulary(pieces, merges)
    if len(made["tokens"]) != args.size or len(set(made["tokens"])) != args.size:
        raise SystemExit(f"{len(made['tokens'])} tokens ({len(set(made['tokens']))} distinct), expected {args.size}: too little text")
    pathlib.Path(args.out).write_text(json.dumps(made, ensure_ascii=False))
    total = sum(c * len(w) for w, c in kept.items())
    ranks = {p: (i, 256 + i) for i, p in enumerate(merges)}
    sample = sorted(kept)[::53]
    tokens = sum(len(encode(w, ranks)) * kept[w] for w in sample)
    size = sum(len(w) * kept[w] for w in sample)
    print(json.dumps({"bytes": total, "bytes_per_token": round(size / tokens, 3)}), file=sys.stderr)


if __name__ == "__main__":
    main()
