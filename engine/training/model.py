"""The Coder model in PyTorch: a Llama-shaped decoder that a GGUF file of architecture `llama` holds
exactly, plus the parent mask (engine/attention_mask.h) as an option per layer.

Shapes: B rows, T tokens a row, D model width, H query heads, K key heads, E head width.
"""
import copy
import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import structure
from structure import ENDLESS

# StructureMode of engine/attention_mask.h. WINDOW is the experiment's control without a tree: a key is
# seen in the window or not at all; no file says it.
OFF, EMPHASIS, PRUNE, OWN, WINDOW = 0, 1, 2, 3, 4
SAMPLE = 32  # of so many queries one teaches the tables of scores (Block.with_table_gradient)
REACH = {OFF: 2, EMPHASIS: 2, PRUNE: 1, OWN: 0, WINDOW: -1}  # the largest relation always visible


@dataclasses.dataclass
class Config:
    vocab: int = 16384
    width: int = 512
    layers: int = 12
    heads: int = 8
    kv_heads: int = 4
    head_width: int = 64
    ffn: int = 1280
    rope_theta: float = 10000.0
    rope_factor: float = 1.0  # linear scaling: positions are divided by it
    norm_eps: float = 1e-5
    context: int = 2048
    structure: tuple = ()   # mode a layer; empty: off everywhere
    prune_heads: tuple = ()  # a layer's query heads that its mode prunes, bit h for head h; empty: all of them
    window: int = 256       # |place difference| up to which a pruned key stays visible
    scope_window: int = ENDLESS  # |place difference| up to which a key of the scope or its path does
    sinks: int = 4
    tree: bool = False      # tree positions in every layer
    depth: bool = False     # how deep in the tree a token stands, as a vector beside its own (experiment only)
    brackets: str = ""      # "count": how many brackets the middle has open, likewise; "place": only that a token
                            # is of the middle (experiment only)
    shuffled: bool = False  # the control: trained with the shuffled tree (experiment only)
    tied: bool = True       # the output matrix is the embedding

    def mode(self, layer):
        return self.structure[layer] if self.structure else OFF

    def open_heads(self, layer):
        """bool [H]: the heads that see everything, in a layer that prunes."""
        bits = self.prune_heads[layer] if self.mode(layer) != OFF else 0
        return [not bits >> head & 1 for head in range(self.heads)]

    def labelled(self):
        return self.tree or self.depth or bool(self.brackets) or any(self.structure)

    def parameters(self):
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        return self.vocab * self.width + self.layers * (attention + 3 * self.width * self.ffn)


def rope_tables(length, config, device):
    """cos, sin [length, E/2] of the interleaved rotation (pairs 2i, 2i+1)."""
    e = config.head_width
    freq = config.rope_theta ** (-torch.arange(0, e, 2, device=device, dtype=torch.float64) / e)
    freq = freq / config.rope_factor
    angle = torch.arange(length, device=device, dtype=torch.float64)[:, None] * freq
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """x [B, T, H, E]: pairs (2i, 2i+1) turned by the angle of their position."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[None, :x.shape[1], None], sin[None, :x.shape[1], None]
    return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2).to(x.dtype)


def relation_of(scope, last, b, q, k):
    """0 same, 1 ancestor, 2 other, of key k to query q."""
    on_path = (scope[b, k] <= scope[b, q]) & (scope[b, q] <= last[b, k])
    return torch.where(scope[b, k] == scope[b, q], 0, torch.where(on_path, 1, 2))


def structure_rule(batch, reach, window, scope_window, sinks, open_heads=None):
    """Causal within a document; and of relation `reach` or nearer in scope_window, in the window, a sink, or
    any key, of a head that open_heads names.

    batch: doc, labels [B, T, 3], index [B, T] as train.to_device makes them. reach and both windows are
    tensors [], so that every mode shares one compiled graph; open_heads bool [H]."""
    doc, index = batch["doc"], batch["index"]
    scope, last, place = batch["labels"].unbind(-1)

    def rule(b, h, q, k):
        distance = (place[b, q] - place[b, k]).abs()
        related = (relation_of(scope, last, b, q, k) <= reach) & (distance <= scope_window)
        seen = related | (distance <= window) | (index[b, k] < sinks)
        if open_heads is not None:
            seen = seen | open_heads[h]
        return (q >= k) & (doc[b, q] == doc[b, k]) & seen
    return rule


def create_mask(rule, batch, create):
    b, t = batch["doc"].shape
    return create(rule, b, None, t, t, device=batch["doc"].device)


def full_mask(batch, create=create_block_mask):
    """Causal within a document."""
    doc = batch["doc"]

    def rule(b, h, q, k):
        return (q >= k) & (doc[b, q] == doc[b, k])
    return create_mask(rule, batch, create)


BLOCKS = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices",
          "q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices")


def mask_by_head(pruned, full, open_heads, rule):
    """The block mask of `rule` with heads: the blocks of `full` for the open ones, of `pruned` for the others.

    Both were found for all heads at once ([B, 1, ...]); finding blocks a head costs H times as much."""
    out = copy.copy(pruned)
    for name in BLOCKS:
        closed, whole = getattr(pruned, name), getattr(full, name)
        by_head = open_heads.view(1, -1, *[1] * (closed.ndim - 2))
        setattr(out, name, torch.where(by_head, whole, closed).contiguous())
    out.mask_mod = rule
    return out


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class LowRank(nn.Module):
    """A frozen matrix with a low-rank update that learns (Hu et al. 2021): W + alpha/rank · B·A. B is zero at
    first."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach(), requires_grad=False)
        self.lora_a = nn.Parameter(torch.randn(rank, linear.in_features) / math.sqrt(linear.in_features))
        self.lora_b = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return F.linear(x, self.weight) + F.linear(F.linear(x, self.lora_a), self.lora_b) * self.scale


class Block(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        d, e = config.width, config.head_width
        self.config, self.mode = config, config.mode(layer)
        if config.tree and self.mode != OFF:
            raise ValueError(f"layer {layer}: tree positions and mode {self.mode} do not go together")
        self.attn_norm = RMSNorm(d, config.norm_eps)
        self.attn_q = nn.Linear(d, config.heads * e, bias=False)
        self.attn_k = nn.Linear(d, config.kv_heads * e, bias=False)
        self.attn_v = nn.Linear(d, config.kv_heads * e, bias=False)
        self.attn_output = nn.Linear(config.heads * e, d, bias=False)
        self.ffn_norm = RMSNorm(d, config.norm_eps)
        self.ffn_gate = nn.Linear(d, config.ffn, bias=False)
        self.ffn_up = nn.Linear(d, config.ffn, bias=False)
        self.ffn_down = nn.Linear(config.ffn, d, bias=False)
        self.logit_scale = nn.Parameter(torch.zeros(config.heads))  # export.py folds it into attn_q
        # What of the structure is in the scores; forward() reads this and not the mode, so that
        # layers that differ only in their mask share one compiled graph.
        self.scored = "emphasis" if self.mode == EMPHASIS else "tree" if config.tree else ""
        if self.scored == "emphasis":
            self.structure_scale = nn.Parameter(torch.zeros(3, config.heads))
            self.structure_bias = nn.Parameter(torch.zeros(3, config.heads))
        if self.scored == "tree":
            self.structure_tree = nn.Parameter(torch.zeros(structure.CLASSES, config.heads))

    def forward(self, x, cos, sin, mask, batch):
        # x [B, T, D]
        c = self.config
        b, t, _ = x.shape
        y = self.attn_norm(x)
        q = rotate(self.attn_q(y).view(b, t, c.heads, -1), cos, sin).transpose(1, 2)
        q = (q.float() * (1 + self.logit_scale)[:, None, None]).to(q.dtype)
        k = rotate(self.attn_k(y).view(b, t, c.kv_heads, -1), cos, sin).transpose(1, 2)
        v = self.attn_v(y).view(b, t, c.kv_heads, -1).transpose(1, 2)
        a = flex_attention(q, k, v, score_mod=self.score(batch), block_mask=mask, enable_gqa=True)
        if self.scored and torch.is_grad_enabled():
            a = self.with_table_gradient(a, q, k, v, batch)
        x = x + self.attn_output(a.transpose(1, 2).reshape(b, t, -1))
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))

    def score(self, batch):
        """emphasis: score·(1 + α[relation, head]) + β[relation, head]; tree positions: score + bias.

        The tables are constants here: with_table_gradient() says how they learn."""
        if self.scored == "emphasis":
            scope, last, _ = batch["labels"].unbind(-1)
            # Rows of the tables, chosen by conditions: a gather an element made the kernel five times slower.
            scales = self.structure_scale.detach().unbind(0)
            biases = self.structure_bias.detach().unbind(0)

            def emphasis(score, b, h, q, k):
                same = scope[b, k] == scope[b, q]
                on_path = (scope[b, k] <= scope[b, q]) & (scope[b, q] <= last[b, k])
                scale, bias = (torch.where(same, t[0][h], torch.where(on_path, t[1][h], t[2][h]))
                               for t in (scales, biases))
                return score * (1 + scale) + bias
            return emphasis
        if self.scored == "tree":
            path, table = batch["path"], self.structure_tree.detach()

            def tree(score, b, h, q, k):
                of_q = tuple(level[b, q] for level in path)
                of_k = tuple(level[b, k] for level in path)
                return score + table[structure.tree_class(of_q, of_k), h]
            return tree
        return None

    def with_table_gradient(self, a, q, k, v, batch):
        """`a` unchanged in value, through which the tables of score() learn.

        A gradient of a small table inside the fused kernel is millions of atomic additions to a few
        addresses. Instead every SAMPLE-th query (from batch["sample"] on, another one every step) is
        computed once more, openly and with only the tables as variables; added to the result is this
        minus itself, times the queries it stands for. That is an unbiased estimate of the tables'
        gradient, and exact for everything else."""
        doc = batch["doc"]
        at = torch.arange(0, q.shape[2], SAMPLE, device=doc.device) + batch["sample"]  # [S]
        groups = self.config.heads // self.config.kv_heads
        qs = q.detach().index_select(2, at)                               # [B, H, S, E]
        ks, vs = (u.detach().repeat_interleave(groups, 1) for u in (k, v))  # [B, H, T, E]
        score = (qs @ ks.mT).float() / math.sqrt(q.shape[-1])             # [B, H, S, T]
        if self.scored == "emphasis":
            scope, last, _ = batch["labels"].unbind(-1)
            sq, sk = scope[:, at, None], scope[:, None]
            on_path = (sk <= sq) & (sq <= last[:, None])
            cls = torch.where(sk == sq, 0, torch.where(on_path, 1, 2))
            score = score * (1 + spread(self.structure_scale, cls)) + spread(self.structure_bias, cls)
        else:
            of_q = tuple(level[:, at, None] for level in batch["path"])
            of_k = tuple(level[:, None] for level in batch["path"])
            cls = structure.tree_class(of_q, of_k)
            score = score + spread(self.structure_tree, cls)
        causal = at[:, None] >= torch.arange(q.shape[2], device=at.device)
        seen = causal & (doc[:, at, None] == doc[:, None])
        p = score.masked_fill(~seen[:, None], -1e30).softmax(-1).to(vs.dtype)
        o = (p @ vs).to(a.dtype) * SAMPLE                                 # [B, H, S, E]
        here = torch.arange(SAMPLE, device=doc.device) == batch["sample"]
        # Spread by a product, not by an indexed addition, which has no fast kernel in bfloat16.
        nothing = (o - o.detach())[:, :, :, None] * here[:, None]
        return (a.unflatten(2, (-1, SAMPLE)) + nothing).flatten(2, 3)


def spread(table, cls):
    """table [C, H] looked up by cls [B, S, T] -> [B, H, S, T]. Sums of masks, because a gather's
    gradient would be the atomic additions that with_table_gradient() avoids."""
    out = 0
    for c, row in enumerate(table.unbind(0)):
        out = out + row[:, None, None] * (cls == c)[:, None]
    return out


class Coder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.compute = torch.bfloat16  # of the residual stream; weights stay float32
        self.token_embd = nn.Embedding(config.vocab, config.width)
        if config.depth:
            self.structure_depth = nn.Parameter(torch.zeros(structure.LEVELS + 1, config.width))
        if config.brackets:
            self.structure_brackets = nn.Parameter(torch.zeros(structure.OPEN_LEAST + structure.OUTSIDE + 1,
                                                               config.width))
        self.blk = nn.ModuleList(Block(config, i) for i in range(config.layers))
        self.output_norm = RMSNorm(config.width, config.norm_eps)
        if not config.tied:
            self.output = nn.Linear(config.width, config.vocab, bias=False)
        self.create_mask = create_block_mask
        self.rules = {}  # mode: (reach, window, scope window), tensors made once
        self.open_heads = []  # a layer's open heads, bool [H], where the config names heads
        self.reset()

    def compile(self):
        """One block is compiled and used in every layer of its mode; the masks are built compiled."""
        for block in self.blk:
            block.compile(dynamic=False)
        self.create_mask = torch.compile(create_block_mask, dynamic=False)

    @torch.no_grad()
    def reset(self):
        """Small normal embedding (it is also the output matrix), 1/sqrt(fan-in) inner matrices, zero
        residual projections: the model starts as a unigram model of its embedding."""
        nn.init.normal_(self.token_embd.weight, std=0.02)
        for block in self.blk:
            for name, p in block.named_parameters():
                if p.ndim == 2 and "structure" not in name:
                    nn.init.normal_(p, std=1 / math.sqrt(p.shape[1]))
            block.attn_output.weight.zero_()
            block.ffn_down.weight.zero_()

    def rule_of(self, mode, device):
        """(reach, window, scope window) as tensors."""
        if mode not in self.rules:
            scope_window = self.config.scope_window if mode in (PRUNE, OWN) else ENDLESS
            self.rules[mode] = [torch.tensor(v, device=device) for v in (REACH[mode], self.config.window, scope_window)]
        return self.rules[mode]

    def masks(self, batch, create):
        """The block mask of each layer. Without labels only `off` is possible."""
        if "labels" not in batch:
            return [full_mask(batch, create)] * len(self.blk)
        device, sinks = batch["doc"].device, self.config.sinks
        made = {}
        for mode in sorted({block.mode for block in self.blk} | ({OFF} if self.config.prune_heads else set())):
            made[mode] = create_mask(structure_rule(batch, *self.rule_of(mode, device), sinks), batch, create)
        if not self.config.prune_heads:
            return [made[block.mode] for block in self.blk]
        if not self.open_heads:
            self.open_heads = [torch.tensor(self.config.open_heads(i), device=device) for i in range(len(self.blk))]
        return [mask_by_head(made[block.mode], made[OFF], heads,
                             structure_rule(batch, *self.rule_of(block.mode, device), sinks, heads))
                for block, heads in zip(self.blk, self.open_heads)]

    def hidden(self, batch, eager=False, masks=None):
        """batch: tokens, doc [B, T], with structure also labels, index and what score() reads ->
        [B, T, D], after the last norm. eager: uncompiled, for a batch of another shape. masks: other ones than
        the config's."""
        tokens = batch["tokens"]
        cos, sin = rope_tables(tokens.shape[1], self.config, tokens.device)
        if masks is None:
            masks = self.masks(batch, create_block_mask if eager else self.create_mask)
        x = self.token_embd(tokens).to(self.compute)
        # By a product: the gradient of a look-up would be additions of every token to six addresses.
        if self.config.depth:
            at = F.one_hot(batch["path"][structure.LEVELS].long(), structure.LEVELS + 1)
            x = x + at.to(self.compute) @ self.structure_depth.to(self.compute)
        if self.config.brackets:
            open_now = batch["brackets"].long()
            if self.config.brackets == "place":
                open_now = torch.where(open_now == structure.OUTSIDE, open_now, 0)
            at = F.one_hot(open_now + structure.OPEN_LEAST, len(self.structure_brackets))
            x = x + at.to(self.compute) @ self.structure_brackets.to(self.compute)
        for block, mask in zip(self.blk, masks):
            x = (block.forward if eager else block)(x, cos, sin, mask, batch)
        return self.output_norm(x)

    def head(self):
        """The output matrix [vocab, D]."""
        return self.token_embd.weight if self.config.tied else self.output.weight

    def logits(self, hidden):
        return hidden @ self.head().to(hidden.dtype).T


def loss_sum(hidden, targets, embedding, z_weight):
    """Summed cross-entropy over targets >= 0, the z-loss beside it, and the number of targets.

    hidden [N, D], targets [N]. The z-loss (Chowdhery et al. 2022) keeps the normaliser near 1."""
    logits = (hidden @ embedding.to(hidden.dtype).T).float()
    lse = torch.logsumexp(logits, -1)
    picked = logits.gather(-1, targets.clamp(min=0)[:, None])[:, 0]
    wanted = (targets >= 0).float()
    nll = ((lse - picked) * wanted).sum()
    return nll, nll + z_weight * (lse.square() * wanted).sum(), wanted.sum()
