"""Models on the same held-out text, document by document.

    compare.py HELDOUT BASE OTHER… --vocabulary VOCABULARY.json

BASE, OTHER: GGUF files, or model.pt of train.py, which is also asked with the shuffled tree if it was trained so.
HELDOUT: shards of `cambium-prepare --labels`, at any depth, such as a folder of --fim 0 and one of --fim 1. Every
document counts once, with its first 2,048 tokens. Prints JSON: nats a token over all of it and over the middles of
its holes; the shares of lines and of blocks that greedy decoding would write exactly, and of holes where it would
stop at the end and nowhere before; the loss by language; and of each OTHER what it differs by from every model named
before it, with 95 % intervals over resampled documents. Needs PyTorch and a GPU.
"""
import argparse
import json
import multiprocessing

import numpy as np
import torch

import adapter
import gguf
import rows
from analysis import FIGURES, bootstrap
from experiment import newline_tokens, summarize, totals
from model import Coder, Config
from structure import END, ENDLESS, net_brackets, token_names
from train import load_weights, raise_recompile_limit, to_device

LENGTH, BATCH, PIECE = 2048, 32, 4  # tokens a row; rows a forward pass, and of them rows whose logits are held


def config_of(path):
    """model.Config of a checkpoint or an exported file, its structure included."""
    if path.endswith(".pt"):
        return Config(**torch.load(path, map_location="cpu")["config"])
    file = gguf.read(path)
    arch = file.metadata["general.architecture"]
    keys = {k.replace(f"{arch}.", "llama.", 1) if k.startswith(f"{arch}.") else k: v for k, v in file.metadata.items()}
    config = adapter.shape_of(file, keys)
    if "cambium.structure.mode" in file.metadata:
        config |= {"structure": tuple(int(m) for m in file.metadata["cambium.structure.mode"]),
                   "window": file.metadata["cambium.structure.window"],
                   "sinks": file.metadata["cambium.structure.sinks"],
                   "prune_heads": tuple(int(m) for m in file.metadata.get("cambium.structure.prune_heads", ())),
                   "scope_window": file.metadata.get("cambium.structure.scope_window", ENDLESS)}
    return Config(**config)


def wants_paths(config):
    return config.tree or config.depth or config.shuffled


def add_paths(packed):
    """To rows of heldout_rows(): paths, and what the shuffled control has."""
    with multiprocessing.Pool() as pool:
        finished = pool.starmap(rows.finish_row, ((row, [1, i]) for i, row in enumerate(packed)), chunksize=64)
    for row, made in zip(packed, finished):
        row |= {name: made[name] for name in ("path", "shuffled", "shuffled_path")}


def stack(chosen, config):
    """What to_device() takes, of rows with what a model of `config` wants."""
    made = {name: np.stack([row[name] for row in chosen]) for name in ("tokens", "loss", "doc", "labels", "brackets")}
    if wants_paths(config):
        made["path"] = np.stack([row["shuffled_path" if config.shuffled else "path"] for row in chosen])
    if config.shuffled:
        made["labels"][..., :2] = np.stack([row["shuffled"] for row in chosen])
    return {name: torch.from_numpy(array) for name, array in made.items()}


@torch.no_grad()
def predictions(path, packed, device="cuda"):
    """Per row and position [n, LENGTH]: nats lost, whether the target is the likeliest token, whether the end is."""
    config = config_of(path)
    coder = Coder(config).to(device)
    load_weights(coder, path, device)
    coder.compile()
    head = coder.head().bfloat16()
    n = len(packed)
    nll = np.zeros((n, LENGTH), np.float32)
    right, ends = np.zeros((n, LENGTH), bool), np.zeros((n, LENGTH), bool)
    for begin in range(0, n, BATCH):
        which = np.arange(begin, begin + BATCH) % n  # the last pass wraps, so that all have one shape
        batch = to_device(stack([packed[i] for i in which], config), device)
        with torch.autocast(device, torch.bfloat16):
            hidden = coder.hidden(batch)
        for i in range(0, BATCH, PIECE):
            logits = (hidden[i:i + PIECE].bfloat16() @ head.T).float()
            targets = batch["targets"][i:i + PIECE]
            best, here = logits.argmax(-1), which[i:i + PIECE]
            loss = torch.logsumexp(logits, -1) - logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
            nll[here] = loss.cpu().numpy()
            right[here], ends[here] = (best == targets).cpu().numpy(), (best == END).cpu().numpy()
    return nll, right, ends


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("heldout")
    parser.add_argument("base")
    parser.add_argument("others", nargs="+")
    parser.add_argument("--vocabulary", required=True)
    options = parser.parse_args()
    raise_recompile_limit()
    torch.set_float32_matmul_precision("high")
    documents = rows.heldout_documents(options.heldout, LENGTH)
    packed, where = rows.heldout_rows(documents, LENGTH)
    text = {name: np.stack([row[name] for row in packed]) for name in ("tokens", "loss", "doc")}
    text["place"] = np.stack([row["labels"][:, 2] for row in packed])
    language = np.array([document[0] for document in documents])
    names = token_names(options.vocabulary)
    newline = newline_tokens(names)
    for row, open_now in zip(packed, rows.brackets(text, net_brackets(names))):
        row["brackets"] = open_now
    models = (options.base, *options.others)
    if any(wants_paths(config_of(path)) for path in models):
        add_paths(packed)
    sums, files = {}, {}
    for path in models:
        sums[path, 0] = summarize(*predictions(path, packed), text, {"where": where, "language": language}, newline)
        made = totals(sums[path, 0], language)
        made["difference"] = {
            before: {figure: [made[figure] - files[before][figure], *bootstrap(sums, path, before, figure)]
                     for figure in FIGURES}
            for before in files}
        files[path] = made
    print(json.dumps({"tokens": int(text["loss"].sum()), "documents": len(documents), "files": files}, indent=1))


if __name__ == "__main__":
    main()
