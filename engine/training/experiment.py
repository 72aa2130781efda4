"""The structure experiment: small models that differ only in how they use the tree.

    experiment.py run DATA OUT --runs plain:1,own:1,own~:1 --deadline EPOCH_SECONDS
    experiment.py selftest DATA

DATA holds the folders `train` and `heldout` of rows.py. A run is VARIANT:SEED; `~` after the variant
means the shuffled tree. Runs of one seed begin with the same weights and see the same rows in the
same order. Several processes may share the GPU. Each finished run appends a line to
OUT/results.jsonl and writes OUT/VARIANT-SEED.npz (sums per held-out document), and OUT/VARIANT-SEED.pt; one that
fails is named in OUT/failures.jsonl and stops nothing.
"""
import argparse
import contextlib
import dataclasses
import fcntl
import json
import pathlib
import time
import traceback

import numpy as np
import torch

import rows
import structure
from model import EMPHASIS, OFF, OWN, PRUNE, SAMPLE, WINDOW, Block, Coder, Config, create_block_mask, loss_sum
from optimizer import Optimizer
from train import raise_recompile_limit

LAYERS = 10
ROWS, STEPS = 32, 640      # rows a step (65,536 tokens), steps a run
WARMUP, DECAY, RATE, Z = 60, 0.4, 3e-3, 1e-4


def hybrid(mode, *full):
    """`mode` in every layer but those of `full`, which see everything."""
    return tuple(OFF if i in full else mode for i in range(LAYERS))


VARIANTS = {
    "plain": {},
    "emphasis": {"structure": hybrid(EMPHASIS)},
    "prune": {"structure": hybrid(PRUNE)},
    "hybrid-prune": {"structure": hybrid(PRUNE, 5)},
    "hybrid-own": {"structure": hybrid(OWN, 5)},
    "hybrid-own2": {"structure": hybrid(OWN, 4, 8)},
    "tree": {"tree": True},
    "depth": {"depth": True},
    # No tree at all, but what a model has to keep count of to see that its middle is whole; the control knows
    # where the middle is, and no more.
    "brackets": {"brackets": "count"},
    "brackets~": {"brackets": "place"},
    # Not the tree but distance, at about the share of work that hybrid-own skips.
    "hybrid-window": {"structure": hybrid(WINDOW, 5), "window": 512},
}


def config_of(variant):
    return Config(width=256, layers=LAYERS, heads=4, kv_heads=2, ffn=768, context=2048,
                  **{"window": 64, **VARIANTS.get(variant, VARIANTS[variant.rstrip("~")])})


class Data:
    """Packed rows in GPU memory. net: that of structure.brackets_open()."""

    def __init__(self, folder, net):
        arrays = rows.read(folder)
        arrays["brackets"] = rows.brackets(arrays, net)
        self.arrays = {name: torch.from_numpy(np.array(a)).cuda() for name, a in arrays.items()}
        doc = self.arrays["doc"]
        at = torch.arange(doc.shape[1], device="cuda", dtype=torch.int32).expand_as(doc)
        first = torch.ones_like(doc, dtype=torch.bool)
        first[:, 1:] = doc[:, 1:] != doc[:, :-1]
        self.index = at - torch.where(first, at, 0).cummax(1).values

    def __len__(self):
        return len(self.index)

    def batch(self, which, shuffled):
        """What Coder.hidden() reads, and targets; which [B], a tensor of row numbers."""
        a = {name: self.arrays[name][which] for name in ("tokens", "loss", "doc", "place")}
        labels = self.arrays["shuffled" if shuffled else "labels"][which]
        path = self.arrays["shuffled_path" if shuffled else "path"][which]
        tokens = a["tokens"].long()
        targets = torch.where(a["loss"][:, 1:] > 0, tokens[:, 1:], -1)
        return {"tokens": tokens, "doc": a["doc"].int(),
                "targets": torch.nn.functional.pad(targets, (0, 1), value=-1),
                "labels": torch.cat([labels, a["place"][..., None]], -1), "index": self.index[which],
                "brackets": self.arrays["brackets"][which],
                "path": tuple(level.int() for level in structure.path_levels(path)),
                "sample": torch.randint(SAMPLE, (), device="cuda")}


class Gate:
    """Many train at a time, or one measures: a readers-writer lock over processes."""

    def __init__(self, folder):
        self.door = open(pathlib.Path(folder) / "door.lock", "w")
        self.room = open(pathlib.Path(folder) / "room.lock", "w")

    @contextlib.contextmanager
    def shared(self):
        fcntl.flock(self.door, fcntl.LOCK_SH)  # waits while a measurement is wanted
        fcntl.flock(self.door, fcntl.LOCK_UN)
        fcntl.flock(self.room, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self.room, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def alone(self):
        fcntl.flock(self.door, fcntl.LOCK_EX)
        fcntl.flock(self.room, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self.room, fcntl.LOCK_UN)
            fcntl.flock(self.door, fcntl.LOCK_UN)


class Run:
    def __init__(self, variant, seed, careful=False):
        """careful: with fewer parts compiled, for a variant whose compilation failed."""
        self.variant, self.seed, self.shuffled = variant, seed, variant.endswith("~")
        torch.manual_seed(seed)
        self.config = config_of(variant)
        self.model = Coder(self.config).cuda()
        self.optimizer = Optimizer(self.model)
        self.model.compile()
        if careful:
            self.model.create_mask = create_block_mask
        self.loss_sum = torch.compile(loss_sum, dynamic=False)

    def hidden(self, batch):
        with torch.autocast("cuda", torch.bfloat16):
            return self.model.hidden(batch)

    def step(self, batch, rate):
        """The loss of the batch in nats a token, a tensor."""
        with torch.autocast("cuda", torch.bfloat16):
            hidden = self.model.hidden(batch)
            nll, objective, count = self.loss_sum(hidden.flatten(0, 1), batch["targets"].flatten(),
                                                  self.model.token_embd.weight, Z)
        (objective / count).backward()
        self.optimizer.step(rate)
        return (nll / count).detach()

    def order(self, n):
        """Row numbers of the steps: passes over all rows, each in an order of its own."""
        rng = np.random.default_rng(1000 + self.seed)
        passes = -(-ROWS * STEPS // n)
        which = np.concatenate([rng.permutation(n) for _ in range(passes)])[:ROWS * STEPS]
        return torch.from_numpy(which).cuda().view(STEPS, ROWS)

    def train(self, data, gate):
        order, losses, begin = self.order(len(data)), [], time.monotonic()
        for step in range(STEPS):
            left = (STEPS - step) / (STEPS * DECAY)
            rate = RATE * min(1.0, (step + 1) / WARMUP, left)
            with gate.shared():
                loss = self.step(data.batch(order[step], self.shuffled), rate)
                if step % 16 == 15:
                    losses.append(round(loss.item(), 4))
                    if not losses[-1] < 20:
                        raise RuntimeError(f"diverged at step {step}: loss {losses[-1]}")
                torch.cuda.synchronize()
        return {"seconds": round(time.monotonic() - begin, 1), "curve": losses}

    @torch.no_grad()
    def heldout(self, data, gate):
        """Per row and position [n, T]: nll, whether the target is the likeliest token, and whether
        <|fim_end|> is."""
        n, length = data.index.shape
        nll = torch.zeros(n, length, dtype=torch.float16)
        right = torch.zeros(n, length, dtype=torch.bool)
        ends = torch.zeros(n, length, dtype=torch.bool)
        weight = self.model.token_embd.weight.bfloat16()
        for begin in range(0, n, ROWS):
            which = torch.arange(begin, begin + ROWS, device="cuda") % n  # the last batch wraps
            with gate.shared():
                batch = data.batch(which, self.shuffled)
                hidden = self.hidden(batch)
                for i in range(0, ROWS, 4):
                    logits = (hidden[i:i + 4].bfloat16() @ weight.T).float()
                    targets = batch["targets"][i:i + 4]
                    best = logits.argmax(-1)
                    loss = torch.logsumexp(logits, -1) - logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
                    rows_here = (begin + i + np.arange(len(targets))) % n
                    nll[rows_here] = loss.half().cpu()
                    right[rows_here] = (best == targets).cpu()
                    ends[rows_here] = (best == structure.END).cpu()
        return nll.numpy(), right.numpy(), ends.numpy()

    def measure(self, data, gate, steps=8):
        """Alone on the GPU: tokens a second of training, and the attention kernels' share of it."""
        which = torch.arange(ROWS, device="cuda")
        saved = {k: v.clone() for k, v in self.model.state_dict().items()}
        with gate.alone():
            for _ in range(2):
                self.step(data.batch(which, self.shuffled), 0.0)
            torch.cuda.synchronize()
            begin = time.monotonic()
            for _ in range(steps):
                self.step(data.batch(which, self.shuffled), 0.0)
            torch.cuda.synchronize()
            seconds = (time.monotonic() - begin) / steps
            out = {"tokens_per_second": round(ROWS * data.index.shape[1] / seconds)}
            try:
                from torch.profiler import ProfilerActivity, profile
                with profile(activities=[ProfilerActivity.CUDA]) as p:
                    for _ in range(3):
                        self.step(data.batch(which, self.shuffled), 0.0)
                    torch.cuda.synchronize()
                kernels = [(e.key, getattr(e, "device_time_total", 0) or getattr(e, "cuda_time_total", 0))
                           for e in p.key_averages()]
                attention = sum(t for k, t in kernels if "flex_attention" in k) / 3000
                out["attention_ms"], out["step_ms"] = round(attention, 3), round(seconds * 1000, 3)
                out["kernels_ms"] = round(sum(t for _, t in kernels) / 3000, 3)
            except Exception as error:  # the profiler is a bonus
                out["profiler"] = repr(error)[:200]
        self.model.load_state_dict(saved)
        return out


def summarize(nll, right, ends, heldout, documents, newline):
    """Sums of each held-out document (arrays [n_documents]), from what Run.heldout() gives.

    A position holds what is predicted from it, so token i is judged at position i - 1. `exact`: every
    token of the middle and its end are the likeliest ones, which is when greedy decoding writes
    exactly this; `stop`: the end is predicted where the middle ends and nowhere before; `lines`:
    newlines in the middle."""
    where = documents["where"]
    keep = {k: np.zeros(len(where), np.float32) for k in ("nll", "count", "middle_nll", "middle_count")}
    flags = {k: np.zeros(len(where), np.int16) for k in ("hole", "exact", "text", "stop", "lines")}
    tokens, loss = heldout["tokens"], heldout["loss"]
    for i, (row, begin, end) in enumerate(where):
        ids, wanted = tokens[row, begin:end], loss[row, begin:end] > 0
        wanted = wanted.copy()
        wanted[0] = False
        n = nll[row, begin:end - 1].astype(np.float32)
        keep["nll"][i], keep["count"][i] = n[wanted[1:]].sum(), wanted.sum()
        start = structure.middle_begin(ids, heldout["place"][row, begin:end])
        if start is None:
            continue
        at = slice(start - 1, len(ids) - 1)
        ok, stops = right[row, begin:end][at], ends[row, begin:end][at]
        flags["hole"][i] = 1
        flags["exact"][i], flags["text"][i] = ok.all(), ok[:-1].all()
        flags["stop"][i] = stops[-1] and not stops[:-1].any()
        flags["lines"][i] = min(newline[ids[start:-1]].sum(), 30000)
        keep["middle_nll"][i], keep["middle_count"][i] = n[at].sum(), len(ok)
    return {**keep, **flags}


def totals(s, language):
    """The figures of a run from its documents' sums."""
    hole = s["hole"] > 0
    line, block = hole & (s["lines"] == 0), hole & (s["lines"] >= 2)
    out = {"heldout": float(s["nll"].sum() / s["count"].sum()),
           "heldout_middle": float(s["middle_nll"].sum() / max(s["middle_count"].sum(), 1)),
           "line": float(s["exact"][line].mean()), "line_n": int(line.sum()),
           "line_text": float(s["text"][line].mean()),
           "block": float(s["exact"][block].mean()), "block_n": int(block.sum()),
           "stop": float(s["stop"][hole].mean()), "stop_n": int(hole.sum())}
    out["by_language"] = {str(k): round(float(s["nll"][language == k].sum() / s["count"][language == k].sum()), 4)
                          for k in np.unique(language)}
    return out


def newline_tokens(names):
    """int [n_vocab]: newlines in the token's text (written as U+010A)."""
    return np.array([t.count("\u010a") for t in names])


def one(name, data, heldout, documents, newline, gate, out, measured, careful):
    variant, seed = name.split(":")
    run = Run(variant, int(seed), careful)
    line = {"variant": variant, "seed": int(seed), "steps": STEPS, "tokens": STEPS * ROWS * data.index.shape[1],
            "parameters": sum(p.numel() for p in run.model.parameters()),
            "config": dataclasses.asdict(run.config), "careful": careful}
    line.update(run.train(data, gate))
    stem = out / f"{variant}-{seed}"
    torch.save({"config": line["config"], "weights": {k: v.cpu() for k, v in run.model.state_dict().items()}},
               f"{stem}.pt")
    if variant not in measured:
        line.update(run.measure(data, gate))
        measured.add(variant)
    nll, right, ends = run.heldout(heldout[0], gate)
    sums = summarize(nll, right, ends, heldout[1], documents, newline)
    line.update(totals(sums, documents["language"]))
    tables = {k: v.float().cpu().tolist() for k, v in run.model.state_dict().items()
              if "structure" in k or "logit_scale" in k}
    if seed == "1":
        line["tables"] = {k: np.round(v, 3).tolist() for k, v in tables.items()}
    np.savez_compressed(f"{stem}.npz", **sums)
    with open(out / "results.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    print(f"{name}: loss {line['heldout']:.4f} middle {line['heldout_middle']:.4f} line {line['line']:.4f} "
          f"block {line['block']:.4f} stop {line['stop']:.4f}, {line['seconds']} s", flush=True)


def run(args):
    raise_recompile_limit()
    torch.set_float32_matmul_precision("high")
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(args.data)
    names = structure.token_names(args.vocabulary)
    net, newline = structure.net_brackets(names), newline_tokens(names)
    data, heldout = Data(folder / "train", net), (Data(folder / "heldout", net), rows.read(folder / "heldout"))
    documents = dict(np.load(folder / "heldout" / "documents.npz"))
    gate, measured, longest = Gate(out), set(), 0.0
    for name in args.runs.split(","):
        begin = time.time()
        if args.deadline and begin + longest > args.deadline:
            print(f"{name}: no time left", flush=True)
            continue
        for careful in (False, True):
            try:
                one(name, data, heldout, documents, newline, gate, out, measured, careful)
                longest = max(longest, time.time() - begin - (0 if longest else 20))  # less the compilation
                break
            except Exception:
                with open(out / "failures.jsonl", "a") as file:
                    file.write(json.dumps({"run": name, "error": traceback.format_exc()[-3000:]}) + "\n")
                print(f"{name}: FAILED\n{traceback.format_exc()[-1500:]}", flush=True)
                torch.cuda.empty_cache()
                torch._dynamo.reset()
                Block.with_table_gradient = torch.compiler.disable(Block.with_table_gradient)


def selftest(args):
    """Each score or mask against its definition, uncompiled and small; then the table gradient."""
    folder = pathlib.Path(args.data)
    data = Data(folder / "heldout", np.zeros(1 << 16, np.int32))
    which = torch.arange(2, device="cuda")
    failed = []

    def check(ok, what):
        print(("ok   " if ok else "FAIL ") + what, flush=True)
        failed.extend([] if ok else [what])

    batch = data.batch(which, False)
    t = 512  # the first part of two rows
    batch = {k: tuple(x[:, :t] for x in v) if k == "path" else v if k == "sample" else v[:, :t]
             for k, v in batch.items()}
    labels = batch["labels"].cpu().numpy()
    doc, index = batch["doc"].cpu().numpy(), batch["index"].cpu().numpy()
    for variant, reach in (("plain", 2), ("prune", 1), ("hybrid-own", 0), ("hybrid-window", -1)):
        try:
            config = dataclasses.replace(config_of(variant), layers=1, structure=config_of(variant).structure[:1])
            model = Coder(config).cuda()
            mask = model.masks(batch, create_block_mask)[0]
            q = torch.arange(t, device="cuda")
            dense = mask.mask_mod(which[:, None, None], 0, q[None, :, None], q[None, None]).cpu().numpy()
            for b in range(2):
                at = np.arange(t)
                rule = structure.Rule(config.window, config.sinks, reach)
                seen = structure.visible(labels[b], at, at, dataclasses.replace(rule, sinks=0))
                sink = (index[b][None] < rule.sinks) & (at[None] <= at[:, None])
                want = (seen | sink) & (doc[b][None] == doc[b][:, None])
                check(bool((want == dense[b]).all()), f"{variant}: the mask is structure.visible()")
        except Exception:
            check(False, f"{variant}: {traceback.format_exc()[-800:]}")
    for variant in ("emphasis", "tree"):
        try:
            tables(check, variant, batch)
        except Exception:
            check(False, f"{variant}: {traceback.format_exc()[-1500:]}")
    print(f"{len(failed)} checks failed", flush=True)
    raise SystemExit(bool(failed))


def tables(check, variant, batch):
    """The table gradient averaged over all samples is autograd's of plain dense attention."""
    torch.manual_seed(1)
    config = dataclasses.replace(config_of(variant), layers=1, structure=config_of(variant).structure[:1])
    model = Coder(config).cuda()
    block = model.blk[0]
    names = [n for n, _ in block.named_parameters() if "structure" in n]
    with torch.no_grad():
        for name in names:
            getattr(block, name).normal_(std=0.3)
    b, t = batch["tokens"].shape
    shape = (b, config.heads, t, config.head_width)
    q, v = torch.randn(shape, device="cuda"), torch.randn(shape, device="cuda")[:, :2]
    k, way = torch.randn(shape, device="cuda")[:, :2], torch.randn(shape, device="cuda")
    exact = {}
    for sample in range(SAMPLE):
        a = torch.zeros(shape, device="cuda")
        out = block.with_table_gradient(a, q, k, v, {**batch, "sample": torch.tensor(sample, device="cuda")})
        check(bool((out == 0).all()), f"{variant}: values are unchanged") if sample == 0 else None
        for name, g in zip(names, torch.autograd.grad((out * way).sum(), [getattr(block, n) for n in names])):
            exact[name] = exact.get(name, 0) + g / SAMPLE
    # The same by flex_attention's own score function, applied densely.
    at = torch.arange(t, device="cuda")
    score = (q @ k.repeat_interleave(2, 1).mT) / config.head_width ** 0.5
    i, h, x, y = (at[:b].view(-1, 1, 1, 1), torch.arange(config.heads, device="cuda").view(1, -1, 1, 1),
                  at.view(1, 1, -1, 1), at.view(1, 1, 1, -1))
    detach = torch.Tensor.detach
    try:
        torch.Tensor.detach = lambda self: self  # let the tables be variables for once
        score = block.score(batch)(score, i, h, x, y)
    finally:
        torch.Tensor.detach = detach
    seen = (at[:, None] >= at) & (batch["doc"][:, :, None] == batch["doc"][:, None])
    dense = score.masked_fill(~seen[:, None], -1e30).softmax(-1) @ v.repeat_interleave(2, 1)
    for name, g in zip(names, torch.autograd.grad((dense * way).sum(), [getattr(block, n) for n in names])):
        error = ((exact[name] - g).norm() / g.norm()).item()
        check(error < 2e-2, f"{variant}: gradient of {name} by sampling is autograd's ({error:.1e})")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sub = p.add_subparsers(required=True)
    r = sub.add_parser("run")
    r.add_argument("data")
    r.add_argument("out")
    r.add_argument("--runs", required=True)
    r.add_argument("--vocabulary", required=True)
    r.add_argument("--deadline", type=float, default=0, help="no run begins that would not end by then")
    r.set_defaults(run=run)
    s = sub.add_parser("selftest")
    s.add_argument("data")
    s.set_defaults(run=selftest)
    args = p.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
