"""Adapters: structure tensors and low-rank updates laid over any GGUF file of architecture `llama`.

    adapter.py train BASE.gguf SHARDS OUT.gguf --structure 222…   fine-tunes; needs PyTorch and a GPU
    adapter.py info ADAPTER.gguf                                    what an adapter changes

The base's weights stay as they are. For every matrix named by --targets the adapter holds
`NAME.weight.lora_a` [rank, in] and `.lora_b` [out, rank] (llama.cpp's names and shapes): the matrix becomes
W + alpha/rank · B·A. Beside them come the structure's keys and tensors as in a `cambium` model
(export.py). SHARDS: of `cambium-prepare --labels --vocabulary BASE.gguf`, so that tokens and scopes are
those of the base. B starts at zero and so do the tables: at the first step an adapter of mode off or
emphasis changes nothing, one of prune or own only what is seen.
"""
import argparse
import json
import math
import pathlib
import time

import numpy as np

import export
import gguf
import structure

TARGETS = ("attn_q", "attn_k", "attn_v", "attn_output")


def base_config(file):
    """The fields of model.Config of a `llama` file; ValueError where a file needs what this trainer has not."""
    arch = file.metadata["general.architecture"]
    if arch != "llama":
        raise ValueError(f"the base has architecture {arch}; adapters are trained for llama")
    return shape_of(file, file.metadata)


def shape_of(file, keys):
    """The same of any file that is a `llama` but for its structure; keys: its metadata under llama's names."""
    scaling = keys.get("llama.rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        raise ValueError(f"the base has RoPE scaling {scaling}; none and linear are supported")
    if "rope_freqs.weight" in file.tensors:
        raise ValueError("the base has RoPE frequency factors, which are not supported")
    heads, width = keys["llama.attention.head_count"], keys["llama.embedding_length"]
    factor = keys.get("llama.rope.scaling.factor", 1.0) if scaling == "linear" else 1.0
    config = {"vocab": file.tensors["token_embd.weight"].shape[0], "width": width,
              "layers": keys["llama.block_count"], "heads": heads,
              "kv_heads": keys.get("llama.attention.head_count_kv", heads),
              "head_width": keys.get("llama.attention.key_length", width // heads),
              "ffn": keys["llama.feed_forward_length"], "rope_theta": keys.get("llama.rope.freq_base", 10000.0),
              "rope_factor": factor, "norm_eps": keys["llama.attention.layer_norm_rms_epsilon"],
              "context": keys["llama.context_length"], "tied": "output.weight" not in file.tensors}
    rotated = keys.get("llama.rope.dimension_count", config["head_width"])
    if rotated != config["head_width"]:
        raise ValueError(f"the base rotates {rotated} of {config['head_width']} dimensions; all are expected")
    return config


def write(path, tensors, config, rank, alpha, name="Cambium adapter"):
    """tensors: {"blk.N.attn_q.weight.lora_a": array, ..., "blk.N.structure_scale": array, ...};
    config: model.Config's fields, of which the structure is written."""
    writer = gguf.Writer()
    writer.add("general.type", "adapter")
    writer.add("general.architecture", "llama")
    writer.add("general.name", name)
    writer.add("adapter.type", "lora")
    writer.add("adapter.lora.alpha", float(alpha))
    modes = config.get("structure") or (0,) * config["layers"]
    export.add_structure(writer, modes, config)
    for key in sorted(tensors):
        if key.endswith(".lora_a") and len(tensors[key]) != rank:
            raise ValueError(f"{key} has rank {len(tensors[key])}, expected {rank}")
        writer.add_tensor(export.tensor_name(key), tensors[key], "F32")
    writer.write(path)


def merge(base, adapter):
    """{name: float32 array} of a base's tensors (gguf.File) with an adapter's low-rank updates added, and the
    adapter's structure tensors beside them: the model that base and adapter are together."""
    weights = {name: np.array(t.dequantize()) for name, t in base.tensors.items()}
    alpha = adapter.metadata["adapter.lora.alpha"]
    for name, tensor in adapter.tensors.items():
        if name.endswith(".lora_b"):
            continue
        if not name.endswith(".lora_a"):
            weights[name] = np.array(tensor.dequantize())
            continue
        target = name.removesuffix(".lora_a")
        if target not in weights:
            raise ValueError(f"the base has no tensor {target}")
        a, b = tensor.dequantize(), adapter.tensors[target + ".lora_b"].dequantize()
        if (len(b), a.shape[1]) != weights[target].shape or b.shape[1] != len(a):
            raise ValueError(f"{target} is {weights[target].shape}; its update is {b.shape} times {a.shape}")
        weights[target] += np.float32(alpha / len(a)) * (b @ a)
    return weights


def forward(weights, config, tokens, labels=None):
    """Logits [n, vocab] of a model in plain NumPy, float32: the twin of model.py on the names of a file.

    config: model.Config's fields. Slow; for tests of adapters and of exported files."""
    n, e = len(tokens), config["head_width"]
    heads, group = config["heads"], config["heads"] // config["kv_heads"]
    freq = config["rope_theta"] ** (-np.arange(0, e, 2) / e) / config.get("rope_factor", 1.0)
    angle = np.arange(n)[:, None] * freq
    cos, sin = np.cos(angle)[:, None].astype(np.float32), np.sin(angle)[:, None].astype(np.float32)

    def norm(x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config["norm_eps"]) * weight

    def rotate(x):
        a, b = x[..., 0::2], x[..., 1::2]
        return np.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)

    at = np.arange(n)
    modes = config.get("structure") or (0,) * config["layers"]
    relation = structure.relation(labels, at, at) if labels is not None else None
    x = weights["token_embd.weight"][tokens]
    for i in range(config["layers"]):
        w = {k.removeprefix(f"blk.{i}."): v for k, v in weights.items() if k.startswith(f"blk.{i}.")}
        y = norm(x, w["attn_norm.weight"])
        q = rotate((y @ w["attn_q.weight"].T).reshape(n, heads, e))
        k = rotate((y @ w["attn_k.weight"].T).reshape(n, -1, e)).repeat(group, 1)
        v = (y @ w["attn_v.weight"].T).reshape(n, -1, e).repeat(group, 1)
        score = np.einsum("qhe,khe->hqk", q, k) / math.sqrt(e)
        if modes[i] == 1:
            scale, bias = w["attn_structure_scale"], w["attn_structure_bias"]
            score = score * (1 + scale[relation].transpose(2, 0, 1)) + bias[relation].transpose(2, 0, 1)
        if "attn_tree_bias" in w:
            levels = structure.path_levels(structure.path_codes(labels))
            cls = structure.tree_class(tuple(u[:, None] for u in levels), levels)
            score = score + w["attn_tree_bias"][cls].transpose(2, 0, 1)
        seen = np.broadcast_to(at[:, None] >= at, score.shape)
        if modes[i] in (2, 3):
            reach = structure.ANCESTOR if modes[i] == 2 else structure.SAME
            near = structure.visible(labels, at, at, structure.Rule(
                config["window"], config["sinks"], reach, config.get("scope_window", structure.ENDLESS)))
            bits = config["prune_heads"][i] if config.get("prune_heads") else -1
            prunes = np.array([bits >> h & 1 for h in range(heads)], bool)
            seen = np.where(prunes[:, None, None], near, seen)
        score = np.where(seen, score, -np.inf)
        p = np.exp(score - score.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khe->qhe", p, v).reshape(n, -1) @ w["attn_output.weight"].T
        y = norm(x, w["ffn_norm.weight"])
        gate = y @ w["ffn_gate.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w["ffn_up.weight"].T)) @ w["ffn_down.weight"].T
    return norm(x, weights["output_norm.weight"]) @ weights.get("output.weight", weights["token_embd.weight"]).T


# --- the part that needs PyTorch -------------------------------------------------------------------

def load(base, config, rank, alpha, targets, device):
    """A Coder with the base's frozen weights, and low-rank updates on `targets` that learn."""
    import torch

    import model

    coder = model.Coder(model.Config(**config))
    names = {name: np.array(t.dequantize()) for name, t in base.tensors.items()}
    missing, unknown = coder.load_state_dict({k: torch.from_numpy(v) for k, v in names.items()}, strict=False)
    if unknown or any("structure" not in m and "logit_scale" not in m for m in missing):
        raise ValueError(f"the base is no plain llama: lacks {missing}, has {unknown} besides")
    for p in coder.parameters():
        p.requires_grad_(False)
    for block in coder.blk:
        for name, p in block.named_parameters():
            p.requires_grad_("structure" in name)
        for name in targets:
            setattr(block, name, model.LowRank(getattr(block, name), rank, alpha))
    return coder.to(device)


def learnt(coder):
    """What write() takes, of a model that load() gave."""
    out = {}
    for name, p in coder.named_parameters():
        if p.requires_grad:
            out[name.replace(".lora_", ".weight.lora_")] = p.detach().float().cpu().numpy()
    return out


def train_loop(coder, loader, steps, rate, report=None):
    """AdamW on what learns: warm-up over a tenth of the steps, then linearly to 0."""
    import torch

    from model import loss_sum
    rest = [p for p in coder.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    losses = []
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = rate * min((step + 1) / max(1, steps // 10), (steps - step) / steps)
        batch = loader()
        with torch.autocast(batch["tokens"].device.type, torch.bfloat16):
            hidden = coder.hidden(batch)
            nll, _, count = loss_sum(hidden.flatten(0, 1), batch["targets"].flatten(), coder.head(), 0.0)
        (nll / count).backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        adam.step()
        adam.zero_grad()
        losses.append((nll / count).item())
        if report and step % 20 == 19:
            report(step + 1, losses[-1])
    return losses


def train(args):
    import torch

    from shards import Packer
    from train import Loader, raise_recompile_limit
    raise_recompile_limit()
    base = gguf.read(args.base)
    config = base_config(base)
    config.update(structure=tuple(int(c) for c in args.structure), window=args.window,
                  scope_window=args.scope_window, sinks=args.sinks)
    if config["structure"] and len(config["structure"]) != config["layers"]:
        raise SystemExit(f"--structure has {len(args.structure)} digits; the base has {config['layers']} layers")
    torch.manual_seed(args.seed)
    coder = load(base, config, args.rank, args.alpha, args.targets.split(","), "cuda")
    coder.compile()
    packer = Packer(args.shards, args.length, args.seed, with_labels=bool(config["structure"]))
    loader = Loader(packer, args.rows, bool(config["structure"]), "cuda")
    begin = time.monotonic()
    losses = train_loop(coder, loader.next, args.steps, args.lr, lambda step, loss: print(
        json.dumps({"step": step, "loss": round(loss, 4), "seconds": round(time.monotonic() - begin, 1)}), flush=True))
    write(args.out, learnt(coder), config, args.rank, args.alpha, f"Adapter of {pathlib.Path(args.base).stem}")
    print(json.dumps({"first": losses[0], "last": losses[-1], "out": args.out}))


def info(args):
    file = gguf.read(args.adapter)
    keys = {k: v for k, v in file.metadata.items() if k.startswith(("adapter.", "cambium."))}
    print(json.dumps({"keys": keys, "tensors": {k: list(t.shape) for k, t in file.tensors.items()}}, indent=1))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sub = p.add_subparsers(required=True)
    t = sub.add_parser("train")
    t.add_argument("base")
    t.add_argument("shards")
    t.add_argument("out")
    t.add_argument("--structure", default="", help="mode a layer, as in train.py")
    t.add_argument("--window", type=int, default=64)
    t.add_argument("--scope-window", type=int, default=structure.ENDLESS)
    t.add_argument("--sinks", type=int, default=4)
    t.add_argument("--rank", type=int, default=8)
    t.add_argument("--alpha", type=float, default=16)
    t.add_argument("--targets", default=",".join(TARGETS))
    t.add_argument("--steps", type=int, default=500)
    t.add_argument("--rows", type=int, default=4, help="a step")
    t.add_argument("--length", type=int, default=2048)
    t.add_argument("--lr", type=float, default=3e-4)
    t.add_argument("--seed", type=int, default=1)
    t.set_defaults(run=train)
    i = sub.add_parser("info")
    i.add_argument("adapter")
    i.set_defaults(run=info)
    args = p.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
