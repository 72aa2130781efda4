// How fast llama.cpp runs a GGUF file on this machine's CPU: the figures `cambium bench` sets its own
// beside. Uses the prebuilt library inside the npm package `node-llama-cpp`, by its low-level binding,
// so that nothing but llama_decode() is in the measured time (and one hop to a worker thread and back
// a call, about 20 µs).
//
//   node llama_cpp.mjs DIR MODEL.gguf [--threads N,N…] [--flash-attention on,off]
//                      [--cpu VARIANT | --amx] [--prompt N] [--decode N] [--context N]
//
// DIR holds node_modules/node-llama-cpp. Its best setting is not the same for every figure nor on every
// machine (two threads on two shared cores can be slower than one), so each figure is taken with every
// number of threads (1 and all cores if not given) and with flash attention on and off, and the best is
// what counts. A number of threads that a first look shows to be far behind is left out. Prints one JSON
// object:
//   prefill       a prompt of 512 in one batch        each: tps (tokens a second), and the threads and
//   decode        64 steps of one token, empty        flash_attention it was reached with
//   decode_1500   the same after 1,500 tokens
// each the best of three, or of as many as fit in ten seconds, and what ran: version, cpu (the variant).
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
    threads: { type: "string", default: "" },
    cpu: { type: "string" },
    amx: { type: "boolean", default: false },
    "flash-attention": { type: "string", default: "on,off" },
    prompt: { type: "string", default: "512" },
    decode: { type: "string", default: "64" },
    context: { type: "string", default: "1500" },
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

const n = Object.fromEntries(["prompt", "decode", "context"].map((key) => [key, Number(options[key])]));
const listed = options.threads.split(",").map(Number).filter((count) => count > 0);
const threadCounts = [...new Set(listed.length ? listed : [1, addon.getMathCores()])];

const tokenAt = (i) => 32 + ((i * 7919) % 200); // plain tokens of any vocabulary
let context;
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
async function steps(count) {
  let ms = 0;
  for (let i = 0; i < count; ++i) ms += await decode(1);
  return (count / ms) * 1000;
}
async function best(measure) {
  const start = process.hrtime.bigint();
  let value = 0;
  for (let i = 0; i < 3 && process.hrtime.bigint() - start < 10_000_000_000n; ++i)
    value = Math.max(value, await measure());
  return Math.round(value * 10) / 10;
}

const figures = {};
function keep(name, tps, threads, flashAttention) {
  if (!figures[name] || figures[name].tps < tps)
    figures[name] = { tps, threads, flash_attention: flashAttention };
}
let left = threadCounts;
for (const flashAttention of options["flash-attention"].split(",").map((word) => word === "on")) {
  context = new addon.AddonContext(model, {
    contextSize: Math.ceil((n.context + n.decode + 1) / 256) * 256 + 256,
    batchSize: 512,
    sequences: 1,
    threads: Math.max(...threadCounts),
    flashAttention,
  });
  if (!(await context.init())) throw new Error("llama.cpp has no memory for the context");
  if (left === threadCounts && left.length > 1) {
    const looks = [];
    for (const threads of threadCounts) {
      context.setThreads(threads);
      await fill(32); // pages of the file, threads
      looks.push({ threads, prefill: 1 / (await fill(64)), decode: await steps(8) });
    }
    const most = (key) => Math.max(...looks.map((look) => look[key]));
    left = looks
      .filter((look) => look.prefill > 0.7 * most("prefill") || look.decode > 0.7 * most("decode"))
      .map((look) => look.threads);
  }
  for (const threads of left) {
    context.setThreads(threads);
    await fill(32);
    keep("prefill", await best(async () => (n.prompt / (await fill(n.prompt))) * 1000), threads, flashAttention);
    keep("decode", await best(async () => (await fill(1), steps(n.decode))), threads, flashAttention);
    keep("decode_1500", await best(async () => (await fill(n.context), steps(n.decode))), threads, flashAttention);
  }
  await context.dispose();
}
const version = JSON.parse(
  readFileSync(join(packages, "@node-llama-cpp", platform, "package.json"), "utf8"),
).version;
const release = JSON.parse(
  readFileSync(join(packages, "node-llama-cpp", "llama", "binariesGithubRelease.json"), "utf8"),
).release;
console.log(JSON.stringify({ ...figures, llama_cpp: release, package: version, cpu: loaded }));
rmSync(chosen, { recursive: true });
process.exit(0);
