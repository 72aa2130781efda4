"""Makes the small files the engine's tests read where no real model is at hand.

    /usr/bin/python3 tests/golden/make_golden.py

    vocabulary.gguf        a byte-level vocabulary of some 430 tokens, trained on the text below
    vocabulary_cases.tsv   texts (in hex) and their ids by the trainer's plain encoder
    quantized.gguf         for every element type T the exporter writes: "T" in that type, "T.values"
                           what the exporter's own dequantizer makes of it, in F32

Both files are read by tests/engine/; the result is the same on every machine.
"""

import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "engine" / "training"))
import bpe  # noqa: E402
import gguf  # noqa: E402
import quantize  # noqa: E402

MAX_TOKENS = 512

TEXT = '''
def read_lines(path, encoding="utf-8"):
    """Return the lines of a file, without their line ends."""
    with open(path, encoding=encoding) as stream:
        return [line.rstrip("\\n") for line in stream]


class Counter:
    def __init__(self, start=0):
        self.value = start
        self.history = []

    def increment(self, by=1):
        self.value += by
        self.history.append(self.value)
        return self.value

    def reset(self):
        for index, value in enumerate(self.history):
            if value is None:
                raise ValueError(f"no value at index {index}")
        self.value = 0


std::vector<int> squares(const std::vector<int>& values) {
  std::vector<int> result;
  result.reserve(values.size());
  for (const int value : values) {
    if (value < 0) continue;
    result.push_back(value * value);
  }
  return result;
}

export function sum(values: number[]): number {
  let result = 0;
  for (const value of values) {
    result += value;
  }
  return result;
}

export const average = (values: number[]): number => sum(values) / values.length;

static int compare(const void *left, const void *right) {
    const int a = *(const int *)left;
    const int b = *(const int *)right;
    return a < b ? -1 : a > b ? 1 : 0;
}

if __name__ == "__main__":
    counter = Counter(start=10)
    for index in range(100):
        counter.increment(by=index)
    print("the value is", counter.value, "and the history has", len(counter.history), "entries")
'''

CASES = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\n\t\n", " \n  x", "x  \n", "a  b", "a   b",
    "return result", "    return self.value\n", "for index in range(1234567890):", "x=1", "x = 12",
    "it's we'll they've I'm you'd don't 'RE", "foo_bar __init__ fooBar", "a+b==c&&d||!e", "...",
    "\u00e9t\u00e9 na\u00efve", "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
    "\u4f60\u597d\uff0c\u4e16\u754c 123", "\U0001f600 \U0001f469\u200d\U0001f4bb", "\u00bd \u2167 \u0663",
    "\u00a0\u2003\u3000x", "\x00\x01\x7f", "<|endoftext|><|fim_prefix|>", "<\uff5cfim\u2581hole\uff5c>",
    "int main(void) {\r\n\treturn 0;\r\n}\r\n", "=" * 100, "value" * 40, TEXT,
]


def make_vocabulary():
    words = {}
    for word in bpe.split(TEXT):
        words[word.encode()] = words.get(word.encode(), 0) + 1
    pieces, merges = bpe.train(words, MAX_TOKENS - len(bpe.SPECIALS) - 256)
    made = bpe.vocabulary(pieces, merges)
    n_specials = len(made["specials"])
    writer = gguf.Writer()
    writer.add("general.architecture", "llama")
    writer.add("general.name", "golden vocabulary")
    writer.add("tokenizer.ggml.model", "gpt2")
    writer.add("tokenizer.ggml.pre", "starcoder")
    writer.add("tokenizer.ggml.tokens", made["tokens"])
    kinds = [3] * n_specials + [1] * (len(made["tokens"]) - n_specials)
    writer.add("tokenizer.ggml.token_type", kinds, "i32")
    writer.add("tokenizer.ggml.merges", made["merges"])
    for key, name in (("bos", "<|endoftext|>"), ("eos", "<|endoftext|>"),
                      ("fim_pre", "<|fim_prefix|>"), ("fim_suf", "<|fim_suffix|>"),
                      ("fim_mid", "<|fim_middle|>")):
        writer.add(f"tokenizer.ggml.{key}_token_id", made["tokens"].index(name))
    writer.write(HERE / "vocabulary.gguf")

    ranks = {pair: (i, 256 + i) for i, pair in enumerate(merges)}
    lines = []
    for text in CASES:
        ids = [n_specials + i for word in bpe.split(text) for i in bpe.encode(word.encode(), ranks)]
        lines.append(text.encode().hex() + "\t" + " ".join(map(str, ids)) + "\n")
    (HERE / "vocabulary_cases.tsv").write_text("".join(lines))
    print(len(made["tokens"]), "tokens,", len(lines), "cases")


def make_quantized():
    random = np.random.default_rng(7)
    x = random.standard_normal((3, 512)).astype(np.float32)
    x[0, :256] *= np.exp(random.standard_normal(256)).astype(np.float32)  # outliers
    x[1, :256] = np.abs(x[1, :256]) + 2   # far from 0: minima cannot help
    x[1, 256:] -= 3
    x[2, :64] = 0                         # empty sub-blocks
    x[2, 256:] *= 1e-7                    # scales among the subnormal halves
    writer = gguf.Writer()
    writer.add("general.architecture", "golden")
    for kind in quantize.TYPES:
        data = quantize.quantize(x, kind)
        writer.add_tensor(kind, x, kind)
        writer.add_tensor(f"{kind}.values", quantize.dequantize(data, kind))
    writer.write(HERE / "quantized.gguf")


if __name__ == "__main__":
    make_vocabulary()
    make_quantized()
