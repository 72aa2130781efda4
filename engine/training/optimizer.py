"""Muon for the inner matrices, AdamW for the rest (embedding, norms, structure).

Muon (Jordan et al. 2024) replaces a matrix's momentum by its nearest semi-orthogonal matrix, found by
a few Newton-Schulz steps. The update is scaled by 0.2·sqrt(max(rows, cols)) so that its root mean
square is AdamW's and both share one learning rate (Liu et al. 2025).
"""
import torch


def orthogonalize(g, steps=5):
    """g [n, rows, cols] -> each matrix with singular values near 1, in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315  # quintic of Jordan et al.: steepest at 0, all of (0, 1] to ~1
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        xx = x @ x.mT
        x = a * x + (b * xx + c * xx @ xx) @ x
    return x.mT if tall else x


class Muon:
    """One state tensor [n, rows, cols] a matrix shape, so that a step is a few batched products."""

    def __init__(self, parameters, momentum=0.95, weight_decay=0.1, compile=True):
        self.momentum, self.weight_decay = momentum, weight_decay
        groups = {}
        for p in parameters:
            groups.setdefault(tuple(p.shape), []).append(p)
        self.groups = list(groups.values())
        self.state = [torch.zeros(len(g), *g[0].shape, device=g[0].device) for g in self.groups]
        self.orthogonalize = torch.compile(orthogonalize, dynamic=False) if compile else orthogonalize

    @torch.no_grad()
    def step(self, lr):
        for group, momentum in zip(self.groups, self.state):
            grad = torch.stack([p.grad for p in group])
            momentum.lerp_(grad, 1 - self.momentum)
            update = self.orthogonalize(grad.lerp_(momentum, self.momentum))  # Nesterov
            scale = 0.2 * max(group[0].shape) ** 0.5
            torch._foreach_mul_(group, 1 - lr * self.weight_decay)
            torch._foreach_add_(group, list(update.to(group[0].dtype).unbind(0)), alpha=-lr * scale)


class Optimizer:
    """Both halves behind one step(lr)."""

    def __init__(self, model, compile=True):
        matrices, rest = [], []
        for name, p in model.named_parameters():
            inner = p.ndim == 2 and not name.startswith("token_embd") and "structure" not in name
            (matrices if inner else rest).append(p)
        self.parameters = matrices + rest
        self.muon = Muon(matrices, compile=compile)
        self.adam = torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0,
                                      fused=rest[0].is_cuda)

    def step(self, lr, clip=1.0):
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, clip)
        self.muon.step(lr)
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()
        for p in self.parameters:
            p.grad = None
        return norm

    def state_dict(self):
        return {"muon": self.muon.state, "adam": self.adam.state_dict()}

    def load_state_dict(self, saved):
        for mine, theirs in zip(self.muon.state, saved["muon"], strict=True):
            mine.copy_(theirs)
        self.adam.load_state_dict(saved["adam"])
