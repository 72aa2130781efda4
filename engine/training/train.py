"""Trains the Coder model on prepared shards, within a wall-clock budget, on one GPU.

    python3 train.py --data SHARDS --heldout SHARDS --out DIR --minutes 17

The learning rate warms up, stays, and falls linearly to 0 over the last part of the time (WSD), so the
run ends well wherever the clock says it must. In --out: log.jsonl (a line an interval) and model.pt
(weights and config, written at intervals and at the end).
"""
import argparse
import dataclasses
import json
import pathlib
import queue
import threading
import time

import torch

from model import Coder, Config, loss_sum
from optimizer import Optimizer
from shards import Packer, find_shards


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True, help="folder of training shards; more may appear later")
    p.add_argument("--heldout", help="folder of held-out shards, one a language")
    p.add_argument("--out", required=True)
    p.add_argument("--minutes", type=float, required=True, help="of training, compilation included")
    p.add_argument("--decay", type=float, default=0.3, help="share of the time the rate falls")
    p.add_argument("--warmup", type=int, default=100, help="steps")
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--batch-tokens", type=int, default=262144, help="a step")
    p.add_argument("--rows", type=int, default=64, help="rows a forward pass")
    p.add_argument("--length", type=int, default=2048)
    p.add_argument("--z", type=float, default=1e-4, help="weight of the z-loss")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--structure", default="", help="mode a layer, e.g. 002200220022; empty: off")
    p.add_argument("--window", type=int, default=256)
    p.add_argument("--layers", type=int, default=12)
    p.add_argument("--width", type=int, default=512)
    p.add_argument("--ffn", type=int, default=1280)
    p.add_argument("--from", dest="start", help="model.pt to go on from (weights only)")
    p.add_argument("--eval-every", type=int, default=250, help="steps")
    p.add_argument("--save-every", type=int, default=500, help="steps")
    return p.parse_args()


class Loader:
    """Packs the next batches on a thread, so that the GPU never waits for it."""

    def __init__(self, packer, rows, with_labels, device, depth=8):
        self.packer, self.rows, self.device = packer, rows, device
        self.with_labels = with_labels
        self.ready = queue.Queue(depth)
        self.error = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            while True:
                made = self.packer.batch(self.rows)
                self.ready.put({k: torch.from_numpy(v).pin_memory() for k, v in made.items()})
        except Exception as error:  # handed to the training thread
            self.error = error
            self.ready.put(None)

    def next(self):
        made = self.ready.get()
        if made is None:
            raise self.error
        return to_device(made, self.device)


def to_device(batch, device):
    """tokens [B, T], targets [B, T] (-1: none), doc, and labels + index where they are used."""
    b = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
    tokens, loss, doc = b["tokens"].long(), b["loss"], b["doc"]
    targets = torch.where(loss[:, 1:], tokens[:, 1:], -1)
    out = {"tokens": tokens, "doc": doc,
           "targets": torch.nn.functional.pad(targets, (0, 1), value=-1)}
    if "labels" in b:
        at = torch.arange(doc.shape[1], device=device).expand_as(doc)
        first = torch.ones_like(doc, dtype=torch.bool)
        first[:, 1:] = doc[:, 1:] != doc[:, :-1]
        out["labels"] = b["labels"]
        out["index"] = at - torch.where(first, at, 0).cummax(1).values
    return out


class Trainer:
    def __init__(self, args, device="cuda"):
        self.args, self.device = args, device
        torch.manual_seed(args.seed)
        torch.set_float32_matmul_precision("high")
        config = Config(structure=tuple(int(c) for c in args.structure), window=args.window,
                        context=args.length, layers=args.layers, width=args.width, ffn=args.ffn,
                        heads=args.width // 64, kv_heads=args.width // 128)
        self.model = Coder(config).to(device)
        if args.start:
            self.model.load_state_dict(torch.load(args.start, map_location=device)["weights"])
        self.structured = any(config.structure)
        self.optimizer = Optimizer(self.model)
        self.model.compile()
        self.loss_sum = torch.compile(loss_sum, dynamic=False)
        self.out = pathlib.Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)

    def forward(self, batch):
        """Summed nll, summed objective, number of targets."""
        with torch.autocast(self.device, torch.bfloat16):
            hidden = self.model.hidden(batch["tokens"], batch["doc"], batch.get("labels"),
                                       batch.get("index"))
            return self.loss_sum(hidden.flatten(0, 1), batch["targets"].flatten(),
                                 self.model.token_embd.weight, self.args.z)

    @torch.no_grad()
    def heldout(self, batches):
        """Mean loss in nats per token, by language."""
        result = {}
        for language, made in batches.items():
            nll = count = 0.0
            for batch in made:
                n, _, c = self.forward(batch)
                nll, count = nll + n.item(), count + c.item()
            result[language] = nll / max(count, 1)
        return result

    def save(self, name="model.pt"):
        torch.save({"config": dataclasses.asdict(self.model.config),
                    "weights": {k: v.cpu() for k, v in self.model.state_dict().items()}},
                   self.out / name)

    @torch.no_grad()
    def sample(self, tokens, count=64, stop=()):
        """Greedy continuation of one prompt; a full forward pass a token."""
        length = self.args.length
        row = torch.zeros(1, length, dtype=torch.long, device=self.device)
        row[0, :len(tokens)] = torch.tensor(tokens)
        doc = torch.zeros(1, length, dtype=torch.int32, device=self.device)
        made = []
        at = len(tokens)
        for _ in range(min(count, length - at)):
            with torch.autocast(self.device, torch.bfloat16):
                hidden = self.model.hidden(row, doc)
                token = int(self.model.logits(hidden[0, at - 1]).argmax())
            if token in stop:
                break
            made.append(token)
            row[0, at] = token
            at += 1
        return made


def heldout_batches(args, structured, device, rows=32):
    """Per language, the same few rows every time."""
    if not args.heldout:
        return {}
    result = {}
    for path in find_shards(args.heldout):
        packer = Packer(path.parent, args.length, with_labels=structured, only=path.name)
        batch = {k: torch.from_numpy(v) for k, v in packer.batch(rows).items()}
        result[path.name] = [to_device(batch, device)]
    return result


def rate(elapsed, step, args):
    """Learning rate by wall clock: warm-up in steps, then constant, then linear to 0."""
    total = args.minutes * 60
    left = (total - elapsed) / (total * args.decay)
    return args.lr * min(1.0, (step + 1) / args.warmup, max(left, 0.0))


def main():
    args = arguments()
    begin = time.monotonic()
    trainer = Trainer(args)
    config = trainer.model.config
    packer = Packer(args.data, args.length, args.seed, with_labels=trainer.structured)
    loader = Loader(packer, args.rows, trainer.structured, trainer.device)
    heldout = heldout_batches(args, trainer.structured, trainer.device, args.rows)
    accumulate = max(1, args.batch_tokens // (args.rows * args.length))
    log = open(trainer.out / "log.jsonl", "a", encoding="utf-8")
    print(f"{config.parameters() / 1e6:.1f} M parameters, {accumulate} x {args.rows} rows a step, "
          f"{len(packer.shards)} shards", flush=True)

    step, tokens, window = 0, 0, [time.monotonic(), 0]
    while True:
        elapsed = time.monotonic() - begin
        if elapsed >= args.minutes * 60:
            break
        lr = rate(elapsed, step, args)
        batches = [loader.next() for _ in range(accumulate)]
        wanted = sum((b["targets"] >= 0).sum() for b in batches)
        nll = torch.zeros((), device=trainer.device)
        for batch in batches:
            n, objective, _ = trainer.forward(batch)
            (objective / wanted).backward()
            nll += n.detach()
        norm = trainer.optimizer.step(lr)
        step += 1
        tokens += accumulate * args.rows * args.length
        if step % 25 == 0:
            now = time.monotonic()
            line = {"step": step, "seconds": round(now - begin, 1), "tokens": tokens, "lr": lr,
                    "loss": (nll / wanted).item(), "norm": norm.item(),
                    "tokens_per_second": round((tokens - window[1]) / (now - window[0])),
                    "epochs": packer.epochs, "shards": len(packer.shards)}
            window = [now, tokens]
            if step % args.eval_every == 0:
                line["heldout"] = trainer.heldout(heldout)
                window[0] = time.monotonic()
            if not line["loss"] < 20:
                raise SystemExit(f"training diverged at step {step}: loss {line['loss']}")
            log.write(json.dumps(line) + "\n")
            log.flush()
            print(json.dumps(line), flush=True)
        if step % args.save_every == 0:
            trainer.save()
    final = {"step": step, "tokens": tokens, "seconds": round(time.monotonic() - begin, 1),
             "heldout": trainer.heldout(heldout), "final": True}
    log.write(json.dumps(final) + "\n")
    log.close()
    trainer.save()
    print(json.dumps(final), flush=True)


if __name__ == "__main__":
    main()
