"""The Coder model in PyTorch: a Llama-shaped decoder that a GGUF file of architecture `llama` holds
exactly, plus the parent mask (engine/attention_mask.h) as an option per layer.

Shapes: B rows, T tokens a row, D model width, H query heads, K key heads, E head width.
"""
import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

OFF, EMPHASIS, PRUNE = 0, 1, 2  # StructureMode of engine/attention_mask.h


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
    norm_eps: float = 1e-5
    context: int = 2048
    structure: tuple = ()   # StructureMode a layer; empty: off everywhere
    window: int = 256       # prune: |place difference| up to which an `other` key stays visible
    sinks: int = 4

    def mode(self, layer):
        return self.structure[layer] if self.structure else OFF

    def parameters(self):
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        return self.vocab * self.width + self.layers * (attention + 3 * self.width * self.ffn)


def rope_tables(length, config, device):
    """cos, sin [length, E/2] of the interleaved rotation (pairs 2i, 2i+1)."""
    e = config.head_width
    freq = config.rope_theta ** (-torch.arange(0, e, 2, device=device, dtype=torch.float64) / e)
    angle = torch.arange(length, device=device, dtype=torch.float64)[:, None] * freq
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """x [B, T, H, E]: pairs (2i, 2i+1) turned by the angle of their position."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[None, :x.shape[1], None], sin[None, :x.shape[1], None]
    return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2).to(x.dtype)


def full_mask(doc, create=create_block_mask):
    """Block mask: causal within a document. doc [B, T]."""
    def rule(b, h, q, k):
        return (q >= k) & (doc[b, q] == doc[b, k])
    return create(rule, doc.shape[0], None, doc.shape[1], doc.shape[1], device=doc.device)


def pruned_mask(doc, labels, index, config, create=create_block_mask):
    """Block mask of `prune`: causal, same document, and on the ancestor path, near, or a sink.

    labels [B, T, 3] scope, last, place; index [B, T] is the token's index in its document."""
    scope, last, place = labels.unbind(-1)
    window, sinks = config.window, config.sinks

    def rule(b, h, q, k):
        on_path = (scope[b, k] <= scope[b, q]) & (scope[b, q] <= last[b, k])
        near = (place[b, q] - place[b, k]).abs() <= window
        return (q >= k) & (doc[b, q] == doc[b, k]) & (on_path | near | (index[b, k] < sinks))
    return create(rule, doc.shape[0], None, doc.shape[1], doc.shape[1], device=doc.device)


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class Block(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        d, e = config.width, config.head_width
        self.config, self.mode = config, config.mode(layer)
        self.attn_norm = RMSNorm(d, config.norm_eps)
        self.attn_q = nn.Linear(d, config.heads * e, bias=False)
        self.attn_k = nn.Linear(d, config.kv_heads * e, bias=False)
        self.attn_v = nn.Linear(d, config.kv_heads * e, bias=False)
        self.attn_output = nn.Linear(config.heads * e, d, bias=False)
        self.ffn_norm = RMSNorm(d, config.norm_eps)
        self.ffn_gate = nn.Linear(d, config.ffn, bias=False)
        self.ffn_up = nn.Linear(d, config.ffn, bias=False)
        self.ffn_down = nn.Linear(config.ffn, d, bias=False)
        if self.mode == EMPHASIS:
            self.structure_scale = nn.Parameter(torch.zeros(3, config.heads))
            self.structure_bias = nn.Parameter(torch.zeros(3, config.heads))

    def forward(self, x, cos, sin, mask, labels=None):
        # x [B, T, D]
        c = self.config
        b, t, _ = x.shape
        y = self.attn_norm(x)
        q = rotate(self.attn_q(y).view(b, t, c.heads, -1), cos, sin).transpose(1, 2)
        k = rotate(self.attn_k(y).view(b, t, c.kv_heads, -1), cos, sin).transpose(1, 2)
        v = self.attn_v(y).view(b, t, c.kv_heads, -1).transpose(1, 2)
        a = flex_attention(q, k, v, score_mod=self.score(labels), block_mask=mask, enable_gqa=True)
        x = x + self.attn_output(a.transpose(1, 2).reshape(b, t, -1))
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))

    def score(self, labels):
        """`emphasis`: score·(1 + α[relation, head]) + β[relation, head]."""
        if self.mode != EMPHASIS or labels is None:
            return None
        scope, last, _ = labels.unbind(-1)
        scale, bias = self.structure_scale, self.structure_bias

        def emphasis(score, b, h, q, k):
            on_path = (scope[b, k] <= scope[b, q]) & (scope[b, q] <= last[b, k])
            same = scope[b, k] == scope[b, q]
            r = torch.where(same, 0, torch.where(on_path, 1, 2))
            return score * (1 + scale[r, h]) + bias[r, h]
        return emphasis


class Coder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.compute = torch.bfloat16  # of the residual stream; weights stay float32
        self.token_embd = nn.Embedding(config.vocab, config.width)
        self.blk = nn.ModuleList(Block(config, i) for i in range(config.layers))
        self.output_norm = RMSNorm(config.width, config.norm_eps)
        self.create_mask = create_block_mask
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

    def hidden(self, tokens, doc, labels=None, index=None):
        """tokens, doc [B, T] -> [B, T, D], after the last norm."""
        c = self.config
        cos, sin = rope_tables(tokens.shape[1], c, tokens.device)
        modes = {block.mode for block in self.blk}
        full = full_mask(doc, self.create_mask) if modes - {PRUNE} else None
        pruned = pruned_mask(doc, labels, index, c, self.create_mask) if PRUNE in modes else None
        x = self.token_embd(tokens).to(self.compute)
        for block in self.blk:
            x = block(x, cos, sin, pruned if block.mode == PRUNE else full, labels)
        return self.output_norm(x)

    def logits(self, hidden):
        return hidden @ self.token_embd.weight.to(hidden.dtype).T


def loss_sum(hidden, targets, embedding, z_weight):
    """Summed cross-entropy over targets >= 0, the z-loss beside it, and the number of targets.

    hidden [N, D], targets [N]. The z-loss (Chowdhery et al. 2022) keeps the normaliser near 1."""
    logits = (hidden @ embedding.to(hidden.dtype).T).float()
    lse = torch.logsumexp(logits, -1)
    picked = logits.gather(-1, targets.clamp(min=0)[:, None])[:, 0]
    wanted = (targets >= 0).float()
    nll = ((lse - picked) * wanted).sum()
    return nll, nll + z_weight * (lse.square() * wanted).sum(), wanted.sum()
