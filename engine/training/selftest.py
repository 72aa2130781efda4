"""Is this machine fit to train? Trains a tiny and then the real model for a few steps, in a minute.

    selftest.py DATA [--full]      DATA: a folder with at least one prepared shard

Checks that one batch can be learnt by heart, that the mask keeps documents apart, that a position
never sees a later one, that the exported weights give the same logits, and prints tokens a second.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time

import numpy as np
import torch

import train
from shards import Packer


def check(ok, what):
    print(("ok   " if ok else "FAIL ") + what, flush=True)
    if not ok:
        raise SystemExit(1)


def arguments(data, out, **changes):
    sys.argv = ["train.py", "--data", str(data), "--out", str(out), "--minutes", "1"]
    args = train.arguments()
    for key, value in changes.items():
        setattr(args, key, value)
    return args


def causality(trainer, batch):
    """Changing a token changes nothing before it and nothing in another document."""
    rows = batch["tokens"][:2].clone()
    doc = batch["doc"][:2]
    at = rows.shape[1] // 2
    changed = rows.clone()
    changed[:, at] = (changed[:, at] + 1) % trainer.model.config.vocab
    with torch.no_grad(), torch.autocast(trainer.device, torch.bfloat16):
        a = trainer.model.hidden({"tokens": rows, "doc": doc}).float()
        b = trainer.model.hidden({"tokens": changed, "doc": doc}).float()
    moved = (a - b).abs().amax(-1) > 1e-3
    inside = (doc == doc[:, at:at + 1]) & (torch.arange(rows.shape[1], device=rows.device) >= at)
    check(not bool((moved & ~inside).any()), "no position sees a later one or another document")
    check(bool(moved[:, at].all()), "a changed token changes its own position")


def overfit(args):
    trainer = train.Trainer(args)
    packer = Packer(args.data, args.length, args.seed)
    batch = {k: torch.from_numpy(v) for k, v in packer.batch(args.rows).items()}
    batch = train.to_device(batch, trainer.device)
    wanted = (batch["targets"] >= 0).sum()
    first = last = 0.0
    for step in range(60):
        nll, objective, _ = trainer.forward(batch)
        (objective / wanted).backward()
        trainer.optimizer.step(args.lr * min(1.0, (step + 1) / 10))
        last = (nll / wanted).item()
        if step == 0:
            first = last
    print(f"     one batch: loss {first:.3f} to {last:.3f}")
    check(9.0 < first < 11.5, "the first loss is near that of a uniform guess (ln 16384 = 9.70)")
    check(last < 0.6 * first, "one batch is being learnt by heart")
    causality(trainer, batch)
    return trainer, batch


def exported(trainer, batch, vocabulary):
    """The F16 file holds the weights that gave these logits."""
    import export
    import gguf
    with tempfile.TemporaryDirectory() as folder:
        trainer.out = pathlib.Path(folder)
        trainer.save()
        config, weights = export.load_checkpoint(trainer.out / "model.pt")
        path = trainer.out / "f16.gguf"
        export.write_model(path, weights, config, vocabulary, "F16")
        stored = gguf.read(path)
        worst = max(float(np.abs(np.asarray(stored.tensors[export.tensor_name(k)].dequantize()) - v).max())
                    for k, v in weights.items())
    check(worst < 0.01, f"exported weights agree (largest difference {worst:.2g})")
    tokens = batch["tokens"][0, :32].tolist()
    check(len(trainer.sample([(tokens, None)], 8)[0]) == 8, "samples are generated")


def speed(args, steps=12):
    trainer = train.Trainer(args)
    packer = Packer(args.data, args.length, args.seed)
    loader = train.Loader(packer, args.rows, False, trainer.device)
    batch = loader.next()
    for step in range(steps):
        if step == 4:
            torch.cuda.synchronize()
            begin = time.monotonic()
        nll, objective, count = trainer.forward(batch)
        (objective / count).backward()
        trainer.optimizer.step(1e-3)
        batch = loader.next()
    torch.cuda.synchronize()
    seconds = time.monotonic() - begin
    print(f"     {(steps - 4) * args.rows * args.length / seconds:.0f} tokens a second, "
          f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--vocabulary", required=True)
    parser.add_argument("--full", action="store_true", help="also the speed of the real size")
    options = parser.parse_args()
    begin = time.monotonic()
    vocabulary = json.loads(pathlib.Path(options.vocabulary).read_text())
    with tempfile.TemporaryDirectory() as out:
        small = arguments(options.data, out, layers=3, rows=4)
        trainer, batch = overfit(small)
        exported(trainer, batch, vocabulary)
        if options.full:
            speed(arguments(options.data, out))
    print(f"     {time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
