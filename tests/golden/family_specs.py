"""The tiny models of every family and gating variant, as tests/golden/families.json describes them.

    python3 tests/golden/family_specs.py        # writes families.json anew

A model is metadata and a list of tensors. Their values follow from integer arithmetic alone (see
`values`), so that C++ (tests/support/engine/family_models.cpp) and make_transformers.py make the
same bits from the same description, and no weights need to be kept. Needs no package.

Query and key weights are scaled so that attention scores spread by two and more: near-uniform
attention would hide a mistake in RoPE, YaRN or its magnitude factor.
"""

import json
import math
import pathlib
import struct

VOCABULARY = 320
N_EMBD = 64
HERE = pathlib.Path(__file__).resolve().parent


def f32(x):
    """The nearest binary32, as every reader of the file will have it."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


class Spec:
    def __init__(self, name, architecture, n_layer, n_head, type="F32"):
        self.name, self.architecture, self.type = name, architecture, type
        self.n_layer = n_layer
        self.metadata, self.tensors = {}, []
        self.key("block_count", n_layer)
        self.key("embedding_length", N_EMBD)
        self.key("attention.head_count", n_head)
        self.key("attention.layer_norm_rms_epsilon", f32(1e-6))
        self.key("context_length", 512)
        self.key("vocab_size", VOCABULARY)
        # Both programs round activations to 8 bits before quantized weights, each its own way; a
        # smaller share of each layer lets a wrong block show above that.
        self.residual = (1 if type == "F32" else 0.4) / math.sqrt(2 * n_layer)
        self.tensor("token_embd.weight", [N_EMBD, VOCABULARY], 1.7, type="F32")
        self.norm("output_norm.weight", N_EMBD)
        self.matrix("output.weight", VOCABULARY, N_EMBD, 2)

    def key(self, name, value):
        self.metadata[f"{self.architecture}.{name}"] = value

    def tensor(self, name, ne, scale, mean=0.0, type=None):
        """Values mean + scale·u, u uniform in [-1, 1); the contiguous dimension first."""
        self.tensors.append({"name": name, "ne": ne, "scale": f32(scale), "mean": f32(mean),
                             "type": type or self.type})

    def norm(self, name, n, mean=1.0):
        # A power of two, so that no rounding depends on whether product and sum are fused.
        self.tensor(name, [n], 0.25, mean, type="F32")

    def bias(self, name, n, scale=1.0):
        self.tensor(name, [n], scale, type="F32")

    def matrix(self, name, rows, cols, gain=1.0, n=None, type=None):
        """Rows of unit length times gain; n of them make a 3-D tensor."""
        ne = [cols, rows] + ([n] if n else [])
        self.tensor(name, ne, gain * math.sqrt(3 / cols), type=type)

    def ffn(self, prefix, suffix, n_ff, n=None):
        self.matrix(prefix + "ffn_gate" + suffix, n_ff, N_EMBD, 1.5, n)
        self.matrix(prefix + "ffn_up" + suffix, n_ff, N_EMBD, 1.5, n)
        self.matrix(prefix + "ffn_down" + suffix, N_EMBD, n_ff, 1.5 * self.residual, n)

    def yarn(self, factor, original, log_multiplier=None, attn_factor=None):
        self.key("rope.scaling.type", "yarn")
        self.key("rope.scaling.factor", f32(factor))
        self.key("rope.scaling.original_context_length", original)
        if log_multiplier is not None:
            self.key("rope.scaling.yarn_log_multiplier", f32(log_multiplier))
        if attn_factor is not None:
            self.key("rope.scaling.attn_factor", f32(attn_factor))

    def json(self):
        return {"name": self.name, "architecture": self.architecture, "metadata": self.metadata,
                "tensors": [[t["name"], t["type"], t["scale"], t["mean"], *t["ne"]]
                            for t in self.tensors]}


def dense(name, architecture, type="F32", n_head=4, n_kv=2, head_dim=32, n_ff=96):
    spec = Spec(name, architecture, n_layer=3, n_head=n_head, type=type)
    spec.key("attention.head_count_kv", n_kv)
    spec.key("attention.key_length", head_dim)
    spec.key("attention.value_length", head_dim)
    spec.key("rope.dimension_count", head_dim)
    spec.key("rope.freq_base", 10000.0)
    spec.key("feed_forward_length", n_ff)
    for i in range(spec.n_layer):
        blk = f"blk.{i}."
        spec.norm(blk + "attn_norm.weight", N_EMBD)
        spec.matrix(blk + "attn_q.weight", n_head * head_dim, N_EMBD, 1.5)
        spec.matrix(blk + "attn_k.weight", n_kv * head_dim, N_EMBD, 1.5)
        spec.matrix(blk + "attn_v.weight", n_kv * head_dim, N_EMBD)
        if architecture == "qwen2":
            for which, n in (("q", n_head), ("k", n_kv), ("v", n_kv)):
                spec.bias(f"{blk}attn_{which}.bias", n * head_dim)
        if architecture == "qwen3":
            spec.norm(blk + "attn_q_norm.weight", head_dim, 1.5)
            spec.norm(blk + "attn_k_norm.weight", head_dim, 1.5)
        spec.matrix(blk + "attn_output.weight", N_EMBD, n_head * head_dim, spec.residual)
        spec.norm(blk + "ffn_norm.weight", N_EMBD)
        spec.ffn(blk, ".weight", n_ff)
    return spec


def latent(name, n_layer, q_lora, gating, normalise=False, scale=1.0, groups=None, bias=False,
           mscale=0.707, old=False, type="F32", n_expert=8, n_used=3, n_dense=1, n_head=4):
    """A deepseek2 model. `old`: key and value projections in one tensor, as files had it before
    they were split by head."""
    nope, rope, v_dim, kv_lora, n_ff, n_ff_expert = 32, 16, 32, 64, 96, 64
    n_shared = 2
    spec = Spec(name, "deepseek2", n_layer, n_head, type)
    key = spec.key
    key("attention.head_count_kv", n_head if old else 1)
    key("attention.kv_lora_rank", kv_lora)
    if q_lora:
        key("attention.q_lora_rank", q_lora)
    key("attention.key_length", nope + rope if old else kv_lora + rope)
    key("attention.value_length", v_dim if old else kv_lora)
    if not old:
        key("attention.key_length_mla", nope + rope)
        key("attention.value_length_mla", v_dim)
    key("rope.dimension_count", rope)
    key("rope.freq_base", 10000.0)
    key("feed_forward_length", n_ff)
    key("expert_feed_forward_length", n_ff_expert)
    key("expert_count", n_expert)
    key("expert_used_count", n_used)
    key("expert_shared_count", n_shared)
    key("leading_dense_block_count", n_dense)
    key("expert_weights_scale", f32(scale))
    key("expert_weights_norm", normalise)
    key("expert_gating_func", {"softmax": 1, "sigmoid": 2}[gating])
    if groups:
        key("expert_group_count", groups[0])
        key("expert_group_used_count", groups[1])
    spec.yarn(8.0, 48, log_multiplier=0.1 * mscale)
    q_rows = n_head * (nope + rope)
    for i in range(n_layer):
        blk = f"blk.{i}."
        spec.norm(blk + "attn_norm.weight", N_EMBD)
        if q_lora:
            spec.matrix(blk + "attn_q_a.weight", q_lora, N_EMBD)
            spec.norm(blk + "attn_q_a_norm.weight", q_lora)
            spec.matrix(blk + "attn_q_b.weight", q_rows, q_lora, 1.5)
        else:
            spec.matrix(blk + "attn_q.weight", q_rows, N_EMBD, 1.5)
        spec.matrix(blk + "attn_kv_a_mqa.weight", kv_lora + rope, N_EMBD, 1.5)
        spec.norm(blk + "attn_kv_a_norm.weight", kv_lora)
        if old:
            spec.matrix(blk + "attn_kv_b.weight", n_head * (nope + v_dim), kv_lora, 1.25)
        else:
            # Rows of what multiplies the latent have unit length, not those of the transposed.
            spec.tensor(blk + "attn_k_b.weight", [nope, kv_lora, n_head],
                        1.5 * math.sqrt(3 / kv_lora))
            spec.matrix(blk + "attn_v_b.weight", v_dim, kv_lora, 1, n_head)
        spec.matrix(blk + "attn_output.weight", N_EMBD, n_head * v_dim, spec.residual)
        spec.norm(blk + "ffn_norm.weight", N_EMBD)
        if i < n_dense:
            spec.ffn(blk, ".weight", n_ff)
            continue
        spec.matrix(blk + "ffn_gate_inp.weight", n_expert, N_EMBD, 1.5, type="F32")
        if bias:
            spec.bias(blk + "exp_probs_b.bias", n_expert, 0.25)
        spec.ffn(blk, "_exps.weight", n_ff_expert, n_expert)
        spec.ffn(blk, "_shexp.weight", n_ff_expert * n_shared)
    return spec


def specs():
    qwen2_yarn = dense("qwen2_yarn", "qwen2")
    qwen2_yarn.yarn(4.0, 64)
    # llama.cpp wants heads of n_embd / n_head elements in this family.
    square_yarn = dense("qwen2_square_yarn", "qwen2", head_dim=16)
    square_yarn.yarn(4.0, 64)
    qwen3_yarn = dense("qwen3_yarn", "qwen3")
    qwen3_yarn.yarn(4.0, 64)
    llama3 = dense("llama3", "llama")
    llama3.tensor("rope_freqs.weight", [16], 2.0, 4.0, type="F32")
    # Depth 26 is how files of the Lite models, which have no compressed queries, are told.
    lite = dict(n_layer=26, q_lora=None, gating="softmax", n_expert=4, n_used=2, n_head=2)
    v3 = dict(n_layer=3, q_lora=48, gating="sigmoid", normalise=True, scale=2.5, groups=(4, 2),
              bias=True, mscale=1.0)
    return [
        dense("qwen2", "qwen2"), qwen2_yarn,
        dense("qwen2_square", "qwen2", head_dim=16), square_yarn,
        dense("qwen2_q8_0", "qwen2", type="Q8_0", head_dim=16),
        dense("qwen3", "qwen3"), qwen3_yarn,
        llama3,
        latent("deepseek2_lite", **lite),
        latent("deepseek2_lite_old", **lite, old=True),
        latent("deepseek2_v2", n_layer=3, q_lora=48, gating="softmax", scale=4.0, n_dense=1),
        latent("deepseek2_v2_groups", n_layer=3, q_lora=48, gating="softmax", scale=4.0,
               groups=(4, 2)),
        latent("deepseek2_v2_normalised", n_layer=3, q_lora=48, gating="softmax", normalise=True),
        latent("deepseek2_v3", **v3),
        latent("deepseek2_v3_plain", n_layer=3, q_lora=48, gating="sigmoid", n_dense=2,
               mscale=1.0),
        latent("deepseek2_v3_old_q8_0", **{**v3, "q_lora": 64}, old=True, type="Q8_0"),
    ]


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return value


def values(tensor, np):
    """The float32 values of a tensor in NumPy's order: splitmix64 (Steele et al. 2014) of the
    tensor's name, 24 bits each."""
    shape = tensor["ne"][::-1]
    n = math.prod(shape)
    with np.errstate(over="ignore"):
        step = np.uint64(0x9E3779B97F4A7C15)
        z = np.uint64(fnv1a(tensor["name"].encode())) + step * np.arange(1, n + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(40)
    u = z.astype(np.float32) / np.float32(1 << 23) - np.float32(1)
    return (u * np.float32(tensor["scale"]) + np.float32(tensor["mean"])).reshape(shape)


def tokens():
    """Long enough for positions past every original context."""
    return [(i * i * 31 + 7 * i) % 256 for i in range(200)]


POSITIONS = [0, 37, 120, 199]

if __name__ == "__main__":
    out = {"tokens": tokens(), "positions": POSITIONS, "models": [s.json() for s in specs()]}
    path = HERE / "families.json"
    path.write_text(json.dumps(out, separators=(",", ":")).replace('{"name":', '\n{"name":') + "\n")
    print(path, path.stat().st_size)
