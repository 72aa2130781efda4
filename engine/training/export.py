"""Writes trained weights and the vocabulary as GGUF files.

    export.py vocabulary VOCABULARY.json OUT.gguf        the tokenizer alone
    export.py model MODEL.pt VOCABULARY.json OUT_DIR     coder.gguf (quantized) and coder-f16.gguf
    export.py random VOCABULARY.json OUT_DIR             the same with random weights, for tests
    export.py run MODEL.pt VOCABULARY.json OUT.gguf      one file of any type (--type Q8_0), of a run
    export.py take MODEL.gguf VOCABULARY.json            the vocabulary of a file that these wrote

Needs NumPy; `model` also needs PyTorch, to read the checkpoint.
"""

import argparse
import json
import pathlib

import numpy as np

import gguf
from structure import ENDLESS

# What each matrix is stored as. The embedding is the output matrix too, and the value and down
# projections write into the residual stream: they get more bits, within 28 MB in all.
QUANTIZED = {"token_embd": "Q6_K", "attn_v": "Q6_K", "ffn_down": "Q5_K"}
DEFAULT = "Q4_K"
LAST_MODE = 3  # of StructureMode in engine/attention_mask.h
NORMAL, CONTROL = 1, 3  # tokenizer.ggml.token_type


def add_tokenizer(writer, vocabulary):
    specials = vocabulary["specials"]
    index = {name: i for i, name in enumerate(specials)}
    writer.add("tokenizer.ggml.model", "gpt2")
    writer.add("tokenizer.ggml.pre", "starcoder")
    writer.add("tokenizer.ggml.tokens", vocabulary["tokens"])
    writer.add("tokenizer.ggml.token_type",
               [CONTROL if i < len(specials) else NORMAL for i in range(len(vocabulary["tokens"]))], "i32")
    writer.add("tokenizer.ggml.merges", vocabulary["merges"])
    writer.add("tokenizer.ggml.add_bos_token", True)
    for key, name in [("bos", "<|endoftext|>"), ("eos", "<|endoftext|>"), ("eot", "<|fim_end|>"),
                      ("fim_pre", "<|fim_prefix|>"), ("fim_suf", "<|fim_suffix|>"), ("fim_mid", "<|fim_middle|>")]:
        writer.add(f"tokenizer.ggml.{key}_token_id", index[name])
    writer.add("cambium.fim.psm", True)
    writer.add("cambium.fim.spm", True)
    writer.add("cambium.file_token_id", index["<|file_name|>"])


def vocabulary_of(file):
    """What add_tokenizer() was given, of a file that it wrote."""
    kinds, tokens, merges = (list(file.metadata[f"tokenizer.ggml.{key}"]) for key in ("token_type", "tokens", "merges"))
    return {"specials": tokens[:kinds.count(CONTROL)], "tokens": tokens, "merges": merges}


def add_hyperparameters(writer, config, n_vocab, name):
    """config: the fields of model.Config."""
    modes = config.get("structure") or (0,) * config["layers"]
    if max(modes) > LAST_MODE:
        raise ValueError(f"mode {max(modes)} is a control of the experiment; no file holds it")
    for variant in ("depth", "brackets", "shuffled"):
        if config.get(variant):
            raise ValueError(f"{variant} is a variant of the experiment; no file holds it")
    structured = any(modes) or config.get("tree")
    arch = "cambium" if structured else "llama"
    writer.add("general.architecture", arch)
    writer.add("general.name", name)
    writer.add("general.license", "mit")
    writer.add("general.size_label", f"{parameters(config, n_vocab) / 1e6:.0f}M")
    writer.add(f"{arch}.vocab_size", n_vocab)
    writer.add(f"{arch}.context_length", config["context"])
    writer.add(f"{arch}.embedding_length", config["width"])
    writer.add(f"{arch}.block_count", config["layers"])
    writer.add(f"{arch}.feed_forward_length", config["ffn"])
    writer.add(f"{arch}.attention.head_count", config["heads"])
    writer.add(f"{arch}.attention.head_count_kv", config["kv_heads"])
    writer.add(f"{arch}.attention.key_length", config["head_width"])
    writer.add(f"{arch}.attention.value_length", config["head_width"])
    writer.add(f"{arch}.attention.layer_norm_rms_epsilon", float(config["norm_eps"]))
    writer.add(f"{arch}.rope.dimension_count", config["head_width"])
    writer.add(f"{arch}.rope.freq_base", float(config["rope_theta"]))
    if structured:
        add_structure(writer, modes, config)


def add_structure(writer, modes, config):
    """The keys of a structured model or adapter; modes: 0 off, 1 emphasis, 2 prune, 3 own, a layer."""
    writer.add("cambium.structure.mode", list(modes), "u32")
    writer.add("cambium.structure.window", config["window"])
    writer.add("cambium.structure.sinks", config["sinks"])
    if config.get("prune_heads"):
        writer.add("cambium.structure.prune_heads", list(config["prune_heads"]), "u32")
    if config.get("scope_window", ENDLESS) != ENDLESS:
        writer.add("cambium.structure.scope_window", config["scope_window"])


def parameters(config, n_vocab):
    inner = config["width"] * config["head_width"] * (2 * config["heads"] + 2 * config["kv_heads"])
    return n_vocab * config["width"] + config["layers"] * (inner + 3 * config["width"] * config["ffn"])


def tensor_name(name):
    """The file's name of a tensor of model.py. [C, n_head] tables: rows are relations (same, ancestor,
    other), or tree classes (structure.tree_class)."""
    return name.replace(".structure_tree", ".attn_tree_bias").replace(".structure_", ".attn_structure_")


def kind_of(name, shape, kind):
    """How a matrix is stored; kind: "quantized" (a mix within 28 MB), or one type for all."""
    if len(shape) < 2 or "structure" in name:
        return "F32"
    if kind != "quantized":
        return kind if kind in ("F16", "F32", "BF16") else gguf.quantize.fitting(kind, shape[-1])
    part = name.split(".")[-2]
    return gguf.quantize.fitting(QUANTIZED.get(part, DEFAULT), shape[-1])


def fold_logit_scale(weights):
    """The learned per-head scale of the scores, 1 + logit_scale [n_head], goes into the rows of attn_q,
    which gives the same scores: a file of architecture `llama` knows no such scale."""
    out = {}
    for key, array in weights.items():
        if key.endswith(".logit_scale"):
            continue
        scale = weights.get(key.replace("attn_q.weight", "logit_scale")) if key.endswith("attn_q.weight") else None
        if scale is not None:
            heads = array.reshape(len(scale), -1, array.shape[-1])
            array = (heads * (1 + scale)[:, None, None]).reshape(array.shape)
        out[key] = array
    return out


FILE_TYPES = {"quantized": 15, "F16": 1, "Q8_0": 7}  # general.file_type; 15 is mostly Q4_K_M


def write_model(path, weights, config, vocabulary, kind, name="Cambium Coder"):
    """weights: {name in model.py: float32 array}, logit_scale folded."""
    writer = gguf.Writer()
    add_hyperparameters(writer, config, len(vocabulary["tokens"]), name)
    writer.add("general.file_type", FILE_TYPES[kind])
    add_tokenizer(writer, vocabulary)
    for key, array in weights.items():
        writer.add_tensor(tensor_name(key), array, kind_of(key, array.shape, kind))
    writer.write(path)


def load_checkpoint(path):
    """Its config, and the weights as a file holds them."""
    import torch
    saved = torch.load(path, map_location="cpu")
    return saved["config"], fold_logit_scale({k: v.float().numpy() for k, v in saved["weights"].items()})


def random_weights(config, n_vocab, seed=1):
    rng = np.random.default_rng(seed)
    d, e = config["width"], config["head_width"]
    shapes = {"token_embd.weight": (n_vocab, d), "output_norm.weight": (d,)}
    for i in range(config["layers"]):
        for part, shape in {"attn_norm": (d,), "ffn_norm": (d,), "attn_q": (config["heads"] * e, d),
                            "attn_k": (config["kv_heads"] * e, d), "attn_v": (config["kv_heads"] * e, d),
                            "attn_output": (d, config["heads"] * e), "ffn_gate": (config["ffn"], d),
                            "ffn_up": (config["ffn"], d), "ffn_down": (d, config["ffn"])}.items():
            shapes[f"blk.{i}.{part}.weight"] = shape
    return {k: np.ones(s, np.float32) if len(s) == 1 else
            (rng.standard_normal(s) / np.sqrt(s[-1])).astype(np.float32) for k, s in shapes.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sub = parser.add_subparsers(dest="verb", required=True)
    p = sub.add_parser("vocabulary")
    p.add_argument("vocabulary")
    p.add_argument("out")
    p = sub.add_parser("model")
    p.add_argument("checkpoint")
    p.add_argument("vocabulary")
    p.add_argument("out")
    p = sub.add_parser("run")
    p.add_argument("checkpoint")
    p.add_argument("vocabulary")
    p.add_argument("out")
    p.add_argument("--type", choices=["F16", "Q8_0", "quantized"], default="F16")
    p = sub.add_parser("random")
    p.add_argument("vocabulary")
    p.add_argument("out")
    p = sub.add_parser("take")
    p.add_argument("model")
    p.add_argument("vocabulary")
    args = parser.parse_args()
    if args.verb == "take":
        pathlib.Path(args.vocabulary).write_text(json.dumps(vocabulary_of(gguf.read(args.model)), ensure_ascii=False))
        return
    vocabulary = json.loads(pathlib.Path(args.vocabulary).read_text())
    if args.verb == "vocabulary":
        writer = gguf.Writer()
        writer.add("general.architecture", "llama")
        writer.add("general.name", "Cambium Coder vocabulary")
        add_tokenizer(writer, vocabulary)
        writer.write(args.out)
        return
    out = pathlib.Path(args.out)
    if args.verb == "run":
        config, weights = load_checkpoint(args.checkpoint)
        write_model(out, weights, config, vocabulary, args.type, f"Cambium experiment {out.stem}")
        return
    out.mkdir(parents=True, exist_ok=True)
    if args.verb == "model":
        config, weights = load_checkpoint(args.checkpoint)
    else:
        config = {"width": 512, "layers": 12, "heads": 8, "kv_heads": 4, "head_width": 64, "ffn": 1280,
                  "rope_theta": 10000.0, "norm_eps": 1e-5, "context": 2048}
        weights = random_weights(config, len(vocabulary["tokens"]))
    for name, kind in [("coder.gguf", "quantized"), ("coder-f16.gguf", "F16")]:
        write_model(out / name, weights, config, vocabulary, kind)
        print(out / name, (out / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
