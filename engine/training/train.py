"""Trains the Coder model on prepared shards, within a wall-clock budget, on one GPU.

    python3 train.py --data SHARDS --heldout SHARDS --out DIR --minutes 17

On several GPUs it is one process each, with RANK, WORLD_SIZE and the address of the first in the environment
(ranks.py); a step's tokens are shared out among them.

The learning rate warms up, stays, and falls linearly to 0 over the last part of the run (WSD), so that it ends
well where the clock says it must, or at --tokens. In --out: log.jsonl (a line an interval), model.pt (weights
and config, written at intervals and at the end), samples.jsonl (what it writes into held-out holes, at
intervals) and state.pt, from which --resume goes on after an interruption: with the same weights,
optimizer and clock, and with rows in a new order.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import queue
import threading

import numpy as np
import torch

import gguf
import structure
from bpe import text_of
from model import SAMPLE, Coder, Config, loss_sum
from optimizer import Optimizer
from ranks import Ranks
from schedule import Clock, progress, rate
from shards import Packer, Shard, find_shards


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True, help="folder of training shards; more may appear later")
    p.add_argument("--heldout", help="folder of held-out shards, one a language")
    p.add_argument("--out", required=True)
    p.add_argument("--minutes", type=float, required=True, help="of training, compilation included")
    p.add_argument("--tokens", type=float, default=0, help="end after so many, if time is left; 0: by time alone")
    p.add_argument("--decay", type=float, default=0.3, help="share of the run in which the rate falls")
    p.add_argument("--warmup", type=int, default=100, help="steps")
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--batch-tokens", type=int, default=262144, help="a step")
    p.add_argument("--rows", type=int, default=64, help="rows a forward pass")
    p.add_argument("--length", type=int, default=2048)
    p.add_argument("--z", type=float, default=1e-4, help="weight of the z-loss")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--structure", default="",
                   help="mode a layer: 0 off, 1 emphasis, 2 prune, 3 own, as 333303333333; empty: off")
    p.add_argument("--prune-heads", default="",
                   help="the query heads that a layer's mode prunes, a hexadecimal bit mask a layer, as ff,0f,…; "
                        "empty: all; or a file that holds this (heads.py)")
    p.add_argument("--tree", action="store_true", help="tree positions")
    p.add_argument("--shuffled", action="store_true", help="the control: the tree lies at the wrong places of the text")
    p.add_argument("--brackets", choices=["count", "place"], default="",
                   help="a vector for how many brackets the middle has open, or only for being of the middle: a trial, "
                        "which no file holds; needs --vocabulary")
    p.add_argument("--window", type=int, default=256)
    p.add_argument("--scope-window", type=int, default=structure.ENDLESS,
                   help="how far a token sees in its own scope or path, in places")
    p.add_argument("--layers", type=int, default=12)
    p.add_argument("--width", type=int, default=512)
    p.add_argument("--ffn", type=int, default=1280)
    p.add_argument("--from", dest="start", help="model.pt or GGUF file to go on from (weights only)")
    p.add_argument("--eval-every", type=int, default=250, help="steps")
    p.add_argument("--save-every", type=int, default=500, help="steps")
    p.add_argument("--sample-every", type=int, default=1000, help="steps; needs --vocabulary")
    p.add_argument("--vocabulary", help="vocabulary.json, to write samples as text")
    p.add_argument("--resume", action="store_true", help="go on from state.pt in --out")
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
    """tokens [B, T], targets [B, T] (-1: none), doc, and with labels also index, the token's in its
    document."""
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
        out["sample"] = torch.randint(SAMPLE, (), device=device)
    if "brackets" in b:
        out["brackets"] = b["brackets"]
    if "path" in b:
        out["path"] = tuple(level.int() for level in structure.path_levels(b["path"]))
    return out


def raise_recompile_limit():
    """One block's code serves every mode, size and seed of a process."""
    for name in ("recompile_limit", "cache_size_limit"):
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, 64)


def start_weights(path, device):
    """{name in model.py: tensor} of a checkpoint, or of an exported file, whose plain tensors have the same
    names. Weights of an older run may lack logit_scale, and those of a plain one the structure's tables: zeros
    of theirs change nothing."""
    if str(path).endswith(".gguf"):
        return {name: torch.from_numpy(np.array(t.dequantize())) for name, t in gguf.read(path).tensors.items()}
    return torch.load(path, map_location=device)["weights"]


def head_masks(text):
    """Config.prune_heads of what --prune-heads takes."""
    if text and pathlib.Path(text).is_file():
        text = pathlib.Path(text).read_text().strip()
    return tuple(int(mask, 16) for mask in text.split(",")) if text else ()


def load_weights(model, path, device, may_lack=("logit_scale",)):
    """Puts the weights of a checkpoint or an exported file into a model; of its own, those named so may be missing."""
    missing, unknown = model.load_state_dict(start_weights(path, device), strict=False)
    if unknown or any(not any(part in name for part in may_lack) for name in missing):
        raise SystemExit(f"{path} is another kind of model: lacks {missing}, has {unknown} besides")


class Trainer:
    def __init__(self, args, device="cuda"):
        self.args, self.device = args, device
        torch.manual_seed(args.seed)
        torch.set_float32_matmul_precision("high")
        config = Config(structure=tuple(int(c) for c in args.structure), prune_heads=head_masks(args.prune_heads),
                        window=args.window, scope_window=args.scope_window, context=args.length, layers=args.layers,
                        width=args.width, ffn=args.ffn, tree=args.tree, brackets=args.brackets, shuffled=args.shuffled, heads=args.width // 64,
                        kv_heads=args.width // 128)
        self.model = Coder(config).to(device)
        if args.start:
            load_weights(self.model, args.start, device, may_lack=("logit_scale", "structure"))
        self.structured = config.labelled()
        raise_recompile_limit()
        self.optimizer = Optimizer(self.model)
        self.model.compile()
        self.loss_sum = torch.compile(loss_sum, dynamic=False)
        self.out = pathlib.Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)

    def forward(self, batch):
        """Summed nll, summed objective, number of targets."""
        with torch.autocast(self.device, torch.bfloat16):
            hidden = self.model.hidden(batch)
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

    def checkpoint(self, **progress):
        """All that a later start needs, in one piece: state.pt is the old or the new one, never half."""
        torch.save({"weights": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), **progress},
                   self.out / "state.part")
        os.replace(self.out / "state.part", self.out / "state.pt")

    def resume(self):
        """The progress that was given to checkpoint()."""
        saved = torch.load(self.out / "state.pt", map_location=self.device)
        self.model.load_state_dict(saved.pop("weights"))
        self.optimizer.load_state_dict(saved.pop("optimizer"))
        return saved

    @torch.no_grad()
    def sample(self, prompts, count=48, stop=()):
        """Greedy continuations: one list of ids a prompt. A prompt is (tokens [n], labels [n + 1, 3] or None);
        the last label is that of the tokens written. A full, uncompiled forward pass a token."""
        length, n = self.args.length, len(prompts)
        tokens = torch.zeros(n, length, dtype=torch.long)
        labels = torch.zeros(n, length, 3, dtype=torch.int32)
        at = []
        for i, (ids, label) in enumerate(prompts):
            ids = ids[:length - count]
            at.append(len(ids))
            tokens[i, :len(ids)] = torch.as_tensor(np.asarray(ids, np.int64))
            if label is not None:
                labels[i, :len(ids)] = torch.from_numpy(np.array(label[:len(ids)]))
                labels[i, len(ids):] = torch.from_numpy(np.array(label[-1]))
        batch = {"tokens": tokens.to(self.device), "doc": torch.zeros(n, length, dtype=torch.int32, device=self.device)}
        if self.structured:
            batch["labels"] = labels.to(self.device)
            batch["index"] = torch.arange(length, device=self.device).expand(n, length)
        if self.model.config.tree:
            codes = np.stack([structure.path_codes(row) for row in labels.numpy()])
            batch["path"] = tuple(x.int().to(self.device) for x in structure.path_levels(torch.from_numpy(codes)))
        made, done = [[] for _ in prompts], [False] * n
        for step in range(count):
            with torch.autocast(self.device, torch.bfloat16):
                hidden = self.model.hidden(batch, eager=True)
                last = hidden[torch.arange(n), torch.tensor(at) + step - 1]
                best = self.model.logits(last).argmax(-1).tolist()
            for i, token in enumerate(best):
                done[i] = done[i] or token in stop
                if not done[i]:
                    made[i].append(token)
                batch["tokens"][i, at[i] + step] = token
            if all(done):
                break
        return made


def heldout_holes(folder, structured, each=1):
    """[(language, (tokens, labels) of a prompt, the middle that stood there)] of held-out shards."""
    found = []
    for path in find_shards(folder):
        shard, here = Shard(path), 0
        for begin, end in zip(shard.docs[:-1], shard.docs[1:]):
            ids = np.array(shard.tokens[begin:end])
            at = np.flatnonzero(ids == structure.MIDDLE)
            # Prefix, suffix, middle only: there the marker says where the middle begins.
            if ids[-1] != structure.END or not len(at) or at[-1] < 3 or ids[at[-1] - 1] < structure.SPECIALS:
                continue
            first = int(at[-1]) + 1
            labels = np.array(shard.labels[begin:begin + first + 1]) if structured else None
            found.append((path.name, (ids[:first], labels), ids[first:-1]))
            here += 1
            if here == each:
                break
    return found


def bracket_table(args):
    """What Packer needs for --brackets."""
    return structure.net_brackets(structure.token_names(args.vocabulary)) if args.brackets else None


def heldout_batches(args, structured, device, rows=32):
    """Per language, the same few rows every time."""
    if not args.heldout:
        return {}
    result = {}
    for path in find_shards(args.heldout):
        packer = Packer(path.parent, args.length, with_labels=structured, only=path.name,
                        with_paths=args.tree, net=bracket_table(args), shuffle=args.shuffled)
        batch = {k: torch.from_numpy(v) for k, v in packer.batch(rows).items()}
        result[path.name] = [to_device(batch, device)]
    return result


def main():
    args = arguments()
    ranks = Ranks()
    clock = Clock(ranks.of_first if ranks.size > 1 else None)
    trainer = Trainer(args)
    config = trainer.model.config
    step = tokens = 0
    if args.resume and (trainer.out / "state.pt").exists():
        saved = trainer.resume()
        step, tokens = saved["step"], saved["tokens"]
        clock = Clock(clock.of_first, saved["elapsed"])
    packer = Packer(args.data, args.length, args.seed + step + 1000003 * ranks.rank, with_labels=trainer.structured,
                    with_paths=args.tree, net=bracket_table(args), shuffle=args.shuffled)
    loader = Loader(packer, args.rows, trainer.structured, trainer.device)
    heldout = heldout_batches(args, trainer.structured, trainer.device, args.rows) if ranks.first else {}
    accumulate = max(1, args.batch_tokens // (args.rows * args.length * ranks.size))
    log = open(trainer.out / ("log.jsonl" if ranks.first else os.devnull), "a", encoding="utf-8")
    if ranks.first:
        print(f"{config.parameters() / 1e6:.1f} M parameters, {ranks.size} x {accumulate} x {args.rows} rows a step, "
              f"{len(packer.shards)} shards", flush=True)

    sampled = args.vocabulary and heldout and not args.brackets and not args.shuffled
    holes = heldout_holes(args.heldout, trainer.structured)[:8] if sampled else []
    names = json.loads(pathlib.Path(args.vocabulary).read_text())["tokens"] if holes else []
    window = [clock.mine(), tokens]
    while True:
        share = progress(clock.at(step), tokens, args.minutes, args.tokens)
        if share >= 1:
            break
        lr = rate(share, step, args.lr, args.warmup, args.decay)
        batches = [loader.next() for _ in range(accumulate)]
        wanted = sum((b["targets"] >= 0).sum() for b in batches).float()
        ranks.sum(wanted)
        nll = torch.zeros((), device=trainer.device)
        for batch in batches:
            n, objective, _ = trainer.forward(batch)
            (objective / wanted).backward()
            nll += n.detach()
        ranks.sum(nll, *(p.grad for p in trainer.optimizer.parameters))
        norm = trainer.optimizer.step(lr)
        step += 1
        tokens += ranks.size * accumulate * args.rows * args.length
        if step % 25 == 0:
            clock.look(step)
            now = clock.mine()
            line = {"step": step, "seconds": round(now, 1), "tokens": tokens, "lr": lr,
                    "loss": (nll / wanted).item(), "norm": norm.item(),
                    "tokens_per_second": round((tokens - window[1]) / (now - window[0])),
                    "epochs": packer.epochs, "shards": len(packer.shards)}
            window = [now, tokens]
            if step % args.eval_every == 0 and ranks.first:
                line["heldout"] = trainer.heldout(heldout)
                window[0] = clock.mine()
            if not line["loss"] < 20:
                raise SystemExit(f"training diverged at step {step}: loss {line['loss']}")
            if ranks.first:
                log.write(json.dumps(line) + "\n")
                log.flush()
                print(json.dumps(line), flush=True)
        if step % args.save_every == 0 and ranks.first:
            trainer.save()
            trainer.checkpoint(step=step, tokens=tokens, elapsed=clock.mine())
        if holes and step % args.sample_every == 0:
            made = trainer.sample([prompt for _, prompt, _ in holes], stop=(0, structure.END))
            with open(trainer.out / "samples.jsonl", "a", encoding="utf-8") as file:
                for (language, (ids, _), middle), text in zip(holes, made):
                    file.write(json.dumps({"step": step, "language": language, "wanted": text_of(names, middle),
                                           "written": text_of(names, text)}) + "\n")
    ranks.close()
    if not ranks.first:
        return
    final = {"step": step, "tokens": tokens, "seconds": round(clock.mine(), 1),
             "heldout": trainer.heldout(heldout), "final": True}
    log.write(json.dumps(final) + "\n")
    log.close()
    trainer.save()
    print(json.dumps(final), flush=True)


if __name__ == "__main__":
    main()
