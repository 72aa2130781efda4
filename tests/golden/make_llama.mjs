// Makes tests/golden/llama_*.json: what llama.cpp says of the project's golden models, so that the
// tests need neither Node nor llama.cpp. To make them anew, after a change of the models:
//
//   cmake --build build/release --target write_models && build/release/tests/write_models /tmp
//   (cd /tmp && npm install node-llama-cpp@3.22.1 --ignore-scripts)
//   node tests/golden/make_llama.mjs /tmp /tmp/*.gguf
//
// For each prompt: the greedy continuation with the log-probability of each token, and the whole
// row of logits at a few positions. The keys and values are F16 on both sides; flash attention is off.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const [dir, ...models] = process.argv.slice(2);
if (models.length === 0) {
  console.error("usage: make_llama.mjs DIR MODEL.gguf…; DIR holds node_modules/node-llama-cpp");
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const binaries = join(resolve(dir), "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64");
const addon = createRequire(import.meta.url)(join(binaries, "llama-addon.node"));
addon.setLoggerLogLevel(0);
addon.loadBackends(binaries);
await addon.init();
addon.markLoaded();

const prompts = [
  [..."def fibonacci(n):\n    "].map((c) => c.charCodeAt(0)),
  // Long enough for a wrong RoPE scaling to show.
  Array.from({ length: 300 }, (_, i) => (i * i * 31 + 7 * i) % 256),
  [65],
];
const greedyTokens = 24;

function fnv1a(bytes) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(16, "0");
}

for (const path of models) {
  const model = new addon.AddonModel(path, { addonExports: addon, gpuLayers: 0 });
  if (!(await model.init())) throw new Error(`llama.cpp cannot load ${path}`);
  const context = new addon.AddonContext(model, {
    contextSize: 512, batchSize: 512, sequences: 1, threads: 1, flashAttention: false,
  });
  if (!(await context.init())) throw new Error("no context");
  const sampler = new addon.AddonSampler(model);
  sampler.applyConfig({ temperature: 0 });

  // Logits [vocabulary] after each of the wanted tokens.
  async function logits(tokens, first, wanted) {
    context.initBatch(tokens.length);
    const rows = context.addToBatch(0, first, Uint32Array.from(tokens), Uint32Array.from(wanted));
    await context.decodeBatch();
    const all = [];
    for (const row of rows) {
      const pairs = (await context.sampleToken(row, sampler, false, false, true))[3];
      const values = [];
      for (let i = 0; i < pairs.length; i += 2) values[pairs[i]] = pairs[i + 1];
      all.push(values);
    }
    return all;
  }
  const digits = (x) => Number(x.toPrecision(7));
  const cases = [];
  for (const prompt of prompts) {
    context.disposeSequence(0);
    const positions = [...new Set([0, prompt.length >> 1, prompt.length - 1])];
    const rows = await logits(prompt, 0, positions);
    const greedy = [];
    const logprobs = [];
    for (let row = rows.at(-1), at = prompt.length; greedy.length < greedyTokens; ++at) {
      const max = Math.max(...row);
      const token = row.indexOf(max);
      greedy.push(token);
      logprobs.push(digits(-Math.log(row.reduce((sum, x) => sum + Math.exp(x - max), 0))));
      [row] = await logits([token], at, [0]);
    }
    cases.push({ prompt, positions, logits: rows.map((row) => row.map(digits)), greedy, logprobs });
  }
  const name = basename(path, ".gguf");
  const out = { model: name, fingerprint: fnv1a(readFileSync(path)), cases };
  writeFileSync(join(here, `llama_${name}.json`), JSON.stringify(out) + "\n");
  console.log(name, out.fingerprint, cases.map((c) => c.greedy.slice(0, 8).join(" ")).join(" | "));
}
process.exit(0);
