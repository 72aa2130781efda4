"""Which heads of keys need to see everything: those whose mask costs a plain model most.

    heads.py MODEL SHARDS OUT --heads 28 --window 96 --scope-window 384

MODEL: a plain GGUF file or model.pt. Heads of keys (each with the query heads that share it) are given the mask
`own` in rounds, in each round those that cost least beside what is masked already, until --heads have it. The
loss is that of the same rows of SHARDS (of training text: held-out text chooses nothing). OUT gets what train.py's
--prune-heads takes; printed is the loss after each round, and what each head cost in the first. Needs PyTorch and
a GPU, a minute.

After DuoAttention (Xiao et al. 2024): a few heads fetch from far away, the others look near.
"""
import argparse
import json
import pathlib


def choose(cost, layers, kv_heads, count, rounds):
    """A set of `count` (layer, head of keys); cost(set) is the loss with the set masked. Also [{"loss", "costs"}] of
    the rounds, whose costs are each head's beside what was masked before."""
    masked, told = set(), []
    every = [(layer, head) for layer in range(layers) for head in range(kv_heads)]
    if not 0 < count <= len(every):
        raise ValueError(f"{count} of {len(every)} heads cannot be masked")
    for done in range(1, rounds + 1):
        before = cost(masked)
        costs = {head: cost(masked | {head}) - before for head in every if head not in masked}
        wanted = count * done // rounds - len(masked)
        masked |= set(sorted(costs, key=lambda head: (costs[head], head))[:wanted])
        told.append({"loss": before, "costs": costs})
    return masked, told


def head_bits(masked, layers, heads, kv_heads):
    """A layer's bit mask of query heads, as Config.prune_heads has it."""
    group = heads // kv_heads
    return [sum(((1 << group) - 1) << head * group for at, head in masked if at == layer) for layer in range(layers)]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("shards")
    p.add_argument("out")
    p.add_argument("--heads", type=int, required=True, help="heads of keys to mask")
    p.add_argument("--window", type=int, default=96)
    p.add_argument("--scope-window", type=int, default=384)
    p.add_argument("--rounds", type=int, default=4)
    p.add_argument("--batches", type=int, default=3, help="of 32 rows of 2,048 tokens")
    args = p.parse_args()

    import torch

    from model import OFF, OWN, Coder, Config, create_mask, loss_sum, mask_by_head, structure_rule
    from shards import Packer
    from train import load_weights, raise_recompile_limit, to_device
    raise_recompile_limit()
    torch.set_float32_matmul_precision("high")
    config = Config(window=args.window, scope_window=args.scope_window)
    config.structure = (OWN,) * config.layers
    coder = Coder(config).cuda()
    load_weights(coder, args.model, "cuda")
    coder.compile()
    losses = torch.compile(loss_sum, dynamic=False)
    packer = Packer(args.shards, config.context, seed=7, with_labels=True)
    batches = []
    for _ in range(args.batches):
        batch = to_device({k: torch.from_numpy(v) for k, v in packer.batch(32).items()}, "cuda")
        blocks = [create_mask(structure_rule(batch, *coder.rule_of(mode, "cuda"), config.sinks), batch, coder.create_mask)
                  for mode in (OWN, OFF)]
        batches.append((batch, blocks))

    @torch.no_grad()
    def cost(masked):
        bits = head_bits(masked, config.layers, config.heads, config.kv_heads)
        heads = torch.tensor([[not mask >> h & 1 for h in range(config.heads)] for mask in bits], device="cuda")
        nll = count = 0
        for batch, blocks in batches:
            masks = [mask_by_head(*blocks, open_heads, structure_rule(batch, *coder.rule_of(OWN, "cuda"), config.sinks,
                                                                      open_heads)) for open_heads in heads]
            with torch.autocast("cuda", torch.bfloat16):
                hidden = coder.hidden(batch, masks=masks)
                n, _, c = losses(hidden.flatten(0, 1), batch["targets"].flatten(), coder.head(), 0.0)
            nll, count = nll + n, count + c
        return (nll / count).item()

    masked, told = choose(cost, config.layers, config.kv_heads, args.heads, args.rounds)
    bits = head_bits(masked, config.layers, config.heads, config.kv_heads)
    pathlib.Path(args.out).write_text(",".join(f"{mask:x}" for mask in bits) + "\n")
    first = told[0]["costs"]
    print(json.dumps({"prune_heads": [f"{mask:x}" for mask in bits], "loss": [t["loss"] for t in told] + [cost(masked)],
                      "costs": [[round(first[layer, head], 5) for head in range(config.kv_heads)]
                                for layer in range(config.layers)]}))


if __name__ == "__main__":
    main()
