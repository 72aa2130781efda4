"""Makes tests/golden/families_transformers.json: what Hugging Face Transformers says of the models in
families.json. Needs NumPy, PyTorch and Transformers (any device; it computes on the CPU in float32,
attention written out), which the build and the tests do not.

    python3 tests/golden/make_transformers.py FOLDER [NAME…]

Each model is built from a configuration and given its weights under Transformers' names. A model
that fails is reported with its error and does not stop the others.
"""

import inspect
import json
import math
import os
import pathlib
import signal
import sys
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import family_specs  # noqa: E402


def rope_parameters(spec, key):
    parameters = {"rope_type": "default", "rope_theta": key("rope.freq_base")}
    if key("rope.scaling.type") == "yarn":
        parameters.update(rope_type="yarn", factor=key("rope.scaling.factor"),
                          original_max_position_embeddings=key(
                              "rope.scaling.original_context_length"))
        log_multiplier = key("rope.scaling.yarn_log_multiplier")
        if log_multiplier is not None:
            # The DeepSeek configurations hold both, with the same value.
            parameters.update(mscale=log_multiplier * 10, mscale_all_dim=log_multiplier * 10,
                              beta_fast=32, beta_slow=1)
    return parameters


def configuration(transformers, spec):
    architecture = spec["architecture"]

    def key(name):
        return spec["metadata"].get(f"{architecture}.{name}")

    rope = rope_parameters(spec, key)
    common = dict(vocab_size=family_specs.VOCABULARY, hidden_size=key("embedding_length"),
                  intermediate_size=key("feed_forward_length"),
                  num_hidden_layers=key("block_count"),
                  num_attention_heads=key("attention.head_count"),
                  rms_norm_eps=key("attention.layer_norm_rms_epsilon"),
                  max_position_embeddings=key("context_length"), tie_word_embeddings=False,
                  rope_theta=key("rope.freq_base"), attn_implementation="eager",
                  bos_token_id=None, eos_token_id=None, pad_token_id=None)
    if rope["rope_type"] != "default":
        common["rope_scaling"] = rope
    if architecture in ("qwen2", "qwen3", "llama"):
        name = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}[architecture]
        common.update(num_key_value_heads=key("attention.head_count_kv"),
                      head_dim=key("attention.key_length"))
        if architecture == "qwen3":
            common["attention_bias"] = False
        return (getattr(transformers, name + "Config")(**common),
                getattr(transformers, name + "ForCausalLM"))
    sigmoid = key("expert_gating_func") == 2
    name = "DeepseekV3" if sigmoid else "DeepseekV2"
    groups = key("expert_group_count") or 1
    old = key("attention.key_length_mla") is None
    head_k = key("attention.key_length" if old else "attention.key_length_mla")
    head_v = key("attention.value_length" if old else "attention.value_length_mla")
    n_rot = key("rope.dimension_count")
    common.update(
        num_key_value_heads=key("attention.head_count"), kv_lora_rank=key("attention.kv_lora_rank"),
        q_lora_rank=key("attention.q_lora_rank"), qk_rope_head_dim=n_rot,
        qk_nope_head_dim=head_k - n_rot, v_head_dim=head_v,
        moe_intermediate_size=key("expert_feed_forward_length"),
        n_shared_experts=key("expert_shared_count"), n_routed_experts=key("expert_count"),
        num_experts_per_tok=key("expert_used_count"),
        first_k_dense_replace=key("leading_dense_block_count"),
        norm_topk_prob=key("expert_weights_norm"),
        routed_scaling_factor=key("expert_weights_scale"), n_group=groups,
        topk_group=key("expert_group_used_count") or 1, head_dim=n_rot)
    if not sigmoid:
        common["topk_method"] = "group_limited_greedy" if groups > 1 else "greedy"
    return (getattr(transformers, name + "Config")(**common),
            getattr(transformers, name + "ForCausalLM"))


def unpermuted(w, n_head):
    """GGUF files of the llama architecture hold query and key rows in pairs; here halves follow
    one another."""
    rows, cols = w.shape
    return w.reshape(n_head, rows // n_head // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def state(spec, np):
    """Weights under Transformers' names, experts one by one."""
    w = {t[0]: family_specs.values({"name": t[0], "scale": t[2], "mean": t[3], "ne": t[4:]}, np)
         for t in spec["tensors"]}
    architecture, metadata = spec["architecture"], spec["metadata"]
    n_head = metadata[f"{architecture}.attention.head_count"]
    n_kv = metadata[f"{architecture}.attention.head_count_kv"]
    out = {}
    simple = {"attn_norm.weight": "input_layernorm.weight",
              "ffn_norm.weight": "post_attention_layernorm.weight",
              "attn_output.weight": "self_attn.o_proj.weight",
              "attn_q_a.weight": "self_attn.q_a_proj.weight",
              "attn_q_a_norm.weight": "self_attn.q_a_layernorm.weight",
              "attn_q_b.weight": "self_attn.q_b_proj.weight",
              "attn_kv_a_mqa.weight": "self_attn.kv_a_proj_with_mqa.weight",
              "attn_kv_a_norm.weight": "self_attn.kv_a_layernorm.weight",
              "attn_kv_b.weight": "self_attn.kv_b_proj.weight",
              "attn_q_norm.weight": "self_attn.q_norm.weight",
              "attn_k_norm.weight": "self_attn.k_norm.weight",
              "exp_probs_b.bias": "mlp.gate.e_score_correction_bias",
              "ffn_gate_inp.weight": "mlp.gate.weight"}
    for which in ("q", "k", "v"):
        for part in ("weight", "bias"):
            simple[f"attn_{which}.{part}"] = f"self_attn.{which}_proj.{part}"
    for which in ("gate", "up", "down"):
        simple[f"ffn_{which}.weight"] = f"mlp.{which}_proj.weight"
        simple[f"ffn_{which}_shexp.weight"] = f"mlp.shared_experts.{which}_proj.weight"
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight":
           "model.norm.weight", "output.weight": "lm_head.weight"}
    for name, value in w.items():
        if name in top:
            out[top[name]] = value
            continue
        if name == "rope_freqs.weight":
            continue
        _, layer, rest = name.split(".", 2)
        prefix = f"model.layers.{layer}."
        if rest in simple:
            if architecture == "llama" and rest in ("attn_q.weight", "attn_k.weight"):
                value = unpermuted(value, n_head if rest == "attn_q.weight" else n_kv)
            out[prefix + simple[rest]] = value
        elif rest.endswith("_exps.weight"):
            which = rest[len("ffn_"):-len("_exps.weight")]
            for e in range(value.shape[0]):
                out[f"{prefix}mlp.experts.{e}.{which}_proj.weight"] = value[e]
        elif rest == "attn_k_b.weight":  # [head, kv_lora, nope], beside [head, v, kv_lora]
            v = w[f"blk.{layer}.attn_v_b.weight"]
            joined = np.concatenate([value.transpose(0, 2, 1), v], axis=1)
            out[prefix + "self_attn.kv_b_proj.weight"] = joined.reshape(-1, v.shape[2])
        elif rest != "attn_v_b.weight":
            raise KeyError(name)
    return out


def fill(model, weights, torch, np):
    """Every parameter of the model from `weights`, also where this version keeps all experts of a
    layer in one tensor; what is left over or missing is an error."""
    used = set()
    targets = dict(model.named_parameters())
    targets.update({n: b for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")})
    with torch.no_grad():
        for name, target in targets.items():
            if name in weights:
                value = weights[name]
                used.add(name)
            elif name.endswith("e_score_correction_bias"):
                value = np.zeros(tuple(target.shape), np.float32)
            elif ".experts." in name:
                prefix, which = name.rsplit(".", 1)
                parts = ("gate_proj", "up_proj") if which == "gate_up_proj" else ("down_proj",)
                rows = []
                for e in range(target.shape[0]):
                    names = [f"{prefix}.{e}.{part}.weight" for part in parts]
                    used.update(names)
                    rows.append(np.concatenate([weights[n] for n in names], axis=0))
                value = np.stack(rows)
                if value.shape != tuple(target.shape):
                    value = value.transpose(0, 2, 1)
            else:
                raise KeyError(f"no weights for {name}")
            if tuple(value.shape) != tuple(target.shape):
                raise ValueError(f"{name}: {value.shape} for {tuple(target.shape)}")
            target.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    left = set(weights) - used
    if left:
        raise KeyError(f"weights nobody took: {sorted(left)[:5]}")


def make(spec, fixture, torch, transformers, np):
    config, kind = configuration(transformers, spec)
    model = kind(config).eval().float()
    fill(model, state(spec, np), torch, np)
    if spec["name"] == "llama3":
        # The file carries the factors, whatever rule they came of.
        factors = [t for t in spec["tensors"] if t[0] == "rope_freqs.weight"][0]
        divide = family_specs.values({"name": factors[0], "scale": factors[2], "mean": factors[3],
                                      "ne": factors[4:]}, np)
        model.model.rotary_emb.inv_freq /= torch.from_numpy(divide)
    with torch.no_grad():
        logits = model(torch.tensor([fixture["tokens"]]), use_cache=False).logits[0]
    rows = [[float(f"{x:.6g}") for x in logits[p].tolist()] for p in fixture["positions"]]
    facts = {"rotary": str(getattr(model.model.rotary_emb, "attention_scaling", None)),
             "scaling": str(getattr(model.model.layers[0].self_attn, "scaling", None))}
    return rows, facts


def report_sources(transformers, out):
    """What this version computes, for reading beside a difference."""
    from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3
    for module in (v2, v3):
        for name, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ == module.__name__ and any(
                    w in name for w in ("Attention", "Gate", "TopkRouter", "MoE", "Moe")):
                out.write(f"# {module.__name__}.{name}\n{inspect.getsource(member)}\n")


def main():
    import numpy as np
    import torch
    import transformers
    folder = pathlib.Path(sys.argv[1])
    fixture = json.loads((family_specs.HERE / "families.json").read_text())
    torch.set_num_threads(min(8, os.cpu_count() or 1))
    # Only float32 arithmetic; the seconds a model may take keep one that hangs from the others.
    result = {"transformers": transformers.__version__, "torch": torch.__version__, "logits": {}}
    log = open(folder / "transformers.log", "w", encoding="utf-8")

    def alarm(*_):
        raise TimeoutError("took too long")

    signal.signal(signal.SIGALRM, alarm)
    for spec in fixture["models"]:
        name = spec["name"]
        # Its DeepSeek-V2 never normalises the weights of experts; llama.cpp is asked for that, and
        # for what is here once already.
        if name == "deepseek2_v2_normalised" or name.startswith("qwen2_square"):
            continue
        if sys.argv[2:] and name not in sys.argv[2:] or any(
                t[1] != "F32" for t in spec["tensors"]):
            continue
        signal.alarm(20)
        try:
            rows, facts = make(spec, fixture, torch, transformers, np)
            result["logits"][name] = rows
            log.write(f"{name}: {facts} first logits {rows[-1][:4]}\n")
            if not all(math.isfinite(x) for row in rows for x in row):
                raise ArithmeticError("not finite")
        except Exception:  # whatever it is, the others go on
            log.write(f"{name}: FAILED\n{traceback.format_exc()}\n")
        finally:
            signal.alarm(0)
        log.flush()
        (folder / "families_transformers.json").write_text(
            json.dumps(result, separators=(",", ":")).replace('"logits":{', '\n"logits":{')
            .replace(']],"', ']],\n"') + "\n")
    try:
        report_sources(transformers, log)
    except Exception:
        log.write(traceback.format_exc())
    log.close()
    print(json.dumps({k: v for k, v in result.items() if k != "logits"}),
          "made:", " ".join(result["logits"]))


if __name__ == "__main__":
    main()
