"""Held-out loss of a checkpoint, and of the same model as its quantized file stores it.

    evaluate.py MODEL.pt HELDOUT [--gguf coder.gguf] [--rows 64]

Prints JSON: per language and on average, nats a token; with --gguf also what quantization costs.
"""

import argparse
import json
import sys

import torch

import export
import gguf
import structure
import train


def trainer_for(checkpoint, heldout, rows):
    config = torch.load(checkpoint, map_location="cpu", weights_only=False)["config"]
    sys.argv = ["train.py", "--data", heldout, "--heldout", heldout, "--out", ".", "--minutes", "1",
                "--from", checkpoint, "--rows", str(rows), "--layers", str(config["layers"]),
                "--width", str(config["width"]), "--ffn", str(config["ffn"]),
                "--structure", "".join(map(str, config["structure"])), "--window", str(config["window"]),
                "--scope-window", str(config.get("scope_window", structure.ENDLESS))]
    if config.get("prune_heads"):
        sys.argv += ["--prune-heads", ",".join(f"{mask:x}" for mask in config["prune_heads"])]
    if config.get("tree"):
        sys.argv.append("--tree")
    args = train.arguments()
    return args, train.Trainer(args)


def mean(losses):
    return sum(losses.values()) / len(losses)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("heldout")
    parser.add_argument("--gguf")
    parser.add_argument("--rows", type=int, default=64)
    options = parser.parse_args()
    args, trainer = trainer_for(options.checkpoint, options.heldout, options.rows)
    batches = train.heldout_batches(args, trainer.structured, trainer.device, options.rows)
    result = {"trained": trainer.heldout(batches)}
    result["trained_mean"] = mean(result["trained"])
    if options.gguf:
        stored = gguf.read(options.gguf).tensors
        weights = {}
        for key, value in trainer.model.state_dict().items():
            if key.endswith("logit_scale"):  # the file has it in attn_q
                weights[key] = torch.zeros_like(value)
                continue
            array = torch.from_numpy(stored[export.tensor_name(key)].dequantize().copy())
            weights[key] = array.reshape(value.shape)
        trainer.model.load_state_dict(weights)
        result["quantized"] = trainer.heldout(batches)
        result["quantized_mean"] = mean(result["quantized"])
        result["cost_of_quantization"] = result["quantized_mean"] - result["trained_mean"]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
