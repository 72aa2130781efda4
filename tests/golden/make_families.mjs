// Makes tests/golden/families_llama_cpp.json: what llama.cpp says of the models in families.json, so
// that the tests need neither Node nor llama.cpp. To make it anew, after a change of the models:
//
//   cmake --build build/release --target write_models && build/release/tests/write_models /tmp
//   (cd /tmp && npm install node-llama-cpp@3.22.1 --ignore-scripts)
//   node tests/golden/make_families.mjs /tmp
//
// Keys and values are F16 on both sides; flash attention is off.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const [dir, modules = dir] = process.argv.slice(2);
if (!dir) {
  console.error("usage: make_families.mjs DIR [MODULES]; DIR holds family_*.gguf");
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const binaries = join(resolve(modules), "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64");
const addon = createRequire(import.meta.url)(join(binaries, "llama-addon.node"));
addon.setLoggerLogLevel(process.env.VERBOSE ? 5 : 0);
addon.setLogger((_, text) => process.env.VERBOSE && process.stderr.write(text));
addon.loadBackends(binaries);
await addon.init();
addon.markLoaded();

const { tokens, positions, models } = JSON.parse(readFileSync(join(here, "families.json")));
const logits = {};
for (const { name } of models) {
  // It takes the sum of a group's two best experts whatever the gating; DeepSeek-V2's own code and
  // Transformers take the best one, and Transformers is asked for that.
  if (name === "deepseek2_v2_groups") continue;
  // In this family it knows only heads of n_embd / n_head elements, which the others have.
  if (name === "qwen2" || name === "qwen2_yarn") continue;
  const path = join(dir, `family_${name}.gguf`);
  const model = new addon.AddonModel(path, { addonExports: addon, gpuLayers: 0 });
  try {
    if (!(await model.init())) throw new Error("cannot load it");
    const context = new addon.AddonContext(model, {
      contextSize: 512, batchSize: 512, sequences: 1, threads: 1, flashAttention: false,
    });
    if (!(await context.init())) throw new Error("no context");
    const sampler = new addon.AddonSampler(model);
    sampler.applyConfig({ temperature: 0 });
    context.initBatch(tokens.length);
    const rows = context.addToBatch(0, 0, Uint32Array.from(tokens), Uint32Array.from(positions));
    await context.decodeBatch();
    logits[name] = [];
    for (const row of rows) {
      const pairs = (await context.sampleToken(row, sampler, false, false, true))[3];
      const values = [];
      for (let i = 0; i < pairs.length; i += 2) values[pairs[i]] = Number(pairs[i + 1].toPrecision(6));
      logits[name].push(values);
    }
    console.log(name, logits[name].at(-1).slice(0, 4).join(" "));
  } catch (error) {
    console.error(`${name}: llama.cpp: ${error.message}`);
  }
}
const text = Object.entries(logits).map(([n, rows]) => `${JSON.stringify(n)}:${JSON.stringify(rows)}`);
writeFileSync(join(here, "families_llama_cpp.json"), `{"logits":{\n${text.join(",\n")}\n}}\n`);
process.exit(0);
