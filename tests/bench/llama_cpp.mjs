// How fast llama.cpp runs a GGUF file on this machine's CPU: the figures `cambium bench` sets its own
// beside. Uses the prebuilt library inside the npm package `node-llama-cpp`, by its low-level binding,
// so that nothing but llama_decode() is in the measured time (and one hop to a worker thread and back
// a call, about 20 µs).
//
//   node llama_cpp.mjs DIR MODEL.gguf [--threads N] [--cpu VARIANT | --amx] [--flash-attention on|off]
//                      [--prompt N] [--decode N] [--context N] [--repeat N]
//
// DIR holds node_modules/node-llama-cpp. Prints one JSON object:
//   prefill_tps       tokens a second, a prompt of 512 in one batch
//   decode_tps        tokens a second, 64 steps of one token after a single token
//   decode_1500_tps   the same after 1,500 tokens
// each the best of the repetitions, and what ran: version, cpu (the variant), threads, flash attention.
//
// The package has one library a CPU generation and takes the best that runs here. The one for Sapphire
// Rapids uses AMX tiles, and crashes on some quantized files; it is left out unless --amx is given.
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "0" },
    cpu: { type: "string" },
    amx: { type: "boolean", default: false },
    "flash-attention": { type: "string", default: "on" },
    prompt: { type: "string", default: "512" },
    decode: { type: "string", default: "64" },
    context: { type: "string", default: "1500" },
    repeat: { type: "string", default: "3" },
  },
});
if (positionals.length !== 2) {
  console.error("usage: llama_cpp.mjs DIR MODEL.gguf [options]; DIR holds node_modules/node-llama-cpp");
  process.exit(2);
}
const [dir, modelPath] = positionals.map((path) => resolve(path));
const packages = join(dir, "node_modules");
const platform = `${process.platform === "darwin" ? "mac" : process.platform}-${process.arch}`;
const binaries = join(packages, "@node-llama-cpp", platform, "bins", platform);

// Where a CPU generation's library may be found: the package's folder, seen through links that leave
// out what is not wanted.
const isCpu = /^libggml-cpu-(.+)\.so$/;
const chosen = mkdtempSync(join(tmpdir(), "llama-cpp-"));
for (const name of readdirSync(binaries)) {
  const variant = isCpu.exec(name)?.[1];
  if (variant && options.cpu && variant !== options.cpu) continue;
  if (variant === "sapphirerapids" && !options.amx && options.cpu !== variant) continue;
  symlinkSync(join(binaries, name), join(chosen, name));
}

const addon = createRequire(import.meta.url)(join(binaries, "llama-addon.node"));
addon.setLogger(() => {});
addon.setLoggerLogLevel(0);
addon.loadBackends(chosen);
await addon.init();
addon.markLoaded();
const loaded = readFileSync("/proc/self/maps", "utf8").match(/libggml-cpu-([^/]+)\.so/)?.[1];

const model = new addon.AddonModel(modelPath, { addonExports: addon, gpuLayers: 0, useMmap: true });
if (!(await model.init())) throw new Error(`llama.cpp cannot load ${modelPath}`);

const n = Object.fromEntries(
  ["threads", "prompt", "decode", "context", "repeat"].map((key) => [key, Number(options[key])]),
);
const threads = n.threads || addon.getMathCores();
const flashAttention = options["flash-attention"] === "on";
const context = new addon.AddonContext(model, {
  contextSize: Math.ceil((n.context + n.decode + 1) / 256) * 256 + 256,
  batchSize: 512,
  sequences: 1,
  threads,
  flashAttention,
});
if (!(await context.init())) throw new Error("llama.cpp has no memory for the context");

const tokenAt = (i) => 32 + ((i * 7919) % 200); // plain tokens of any vocabulary
let position = 0;
// Milliseconds of one llama_decode() over `count` tokens, with the logits of the last.
async function decode(count) {
  const tokens = Uint32Array.from({ length: count }, (_, i) => tokenAt(position + i));
  context.initBatch(count);
  context.addToBatch(0, position, tokens, Uint32Array.of(count - 1));
  const start = process.hrtime.bigint();
  await context.decodeBatch();
  position += count;
  return Number(process.hrtime.bigint() - start) / 1e6;
}
async function fill(count) {
  context.disposeSequence(0);
  position = 0;
  let ms = 0;
  for (let left = count; left > 0; left -= 512) ms += await decode(Math.min(left, 512));
  return ms;
}
async function steps() {
  let ms = 0;
  for (let i = 0; i < n.decode; ++i) ms += await decode(1);
  return (n.decode / ms) * 1000;
}
async function best(measure) {
  let value = 0;
  for (let i = 0; i < n.repeat; ++i) value = Math.max(value, await measure());
  return Math.round(value * 10) / 10;
}

await fill(n.prompt); // pages of the file, threads
const figures = {
  prefill_tps: await best(async () => (n.prompt / (await fill(n.prompt))) * 1000),
  decode_tps: await best(async () => (await fill(1), steps())),
  decode_1500_tps: await best(async () => (await fill(n.context), steps())),
};
const version = JSON.parse(
  readFileSync(join(packages, "@node-llama-cpp", platform, "package.json"), "utf8"),
).version;
const release = JSON.parse(
  readFileSync(join(packages, "node-llama-cpp", "llama", "binariesGithubRelease.json"), "utf8"),
).release;
console.log(
  JSON.stringify({ ...figures, llama_cpp: release, package: version, cpu: loaded, threads, flash_attention: flashAttention }),
);
rmSync(chosen, { recursive: true });
process.exit(0);
