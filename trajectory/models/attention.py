"""Attend under a mask, with dropout, as fast as a processor allows.

Two facts make it several times faster than the textbook's four lines: most of what a causal mask hides is never
computed, because queries are read in blocks, each with the keys that its last query sees; and keys that nobody may
see, the value columns, do not exist. Forward and backward work in place on one block of weights at a time.

    B  sequences    H  heads    T  tokens    K  keys that somebody sees    W  width of a head
"""
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS_PER_BLOCK = 50
RANDOM_BITS = 16        # a drop probability is a multiple of 2^-16


@dataclass(frozen=True)
class Block:
    """Some queries, and the keys they see.

    rows   : which queries
    n_keys : they see none of the keys past these
    hidden : [ rows x n_keys − first ]  −inf where a query may not see one of the keys from `first` on, 0 elsewhere
    """

    rows: slice
    n_keys: int
    first: int
    hidden: Tensor


@dataclass(frozen=True)
class Plan:
    """How attention under one mask is computed.    keys : [ K ]  the places of the keys that somebody sees"""

    keys: Tensor
    blocks: tuple[Block, ...]


def make_plan(visible: Tensor, rows_per_block: int = ROWS_PER_BLOCK) -> Plan:
    """Cut a mask into blocks of queries.    visible : [ T x T ]  whether a query, a row, may see a key"""
    keys = visible.any(dim=0).nonzero().flatten()
    visible = visible[:, keys]
    blocks = []
    for start in range(0, len(visible), rows_per_block):
        rows = slice(start, min(start + rows_per_block, len(visible)))
        seen_by_some = visible[rows].any(dim=0).nonzero()
        n_keys = int(seen_by_some.max()) + 1 if len(seen_by_some) else 0
        not_seen_by_all = (~visible[rows, :n_keys]).any(dim=0).nonzero()
        first = int(not_seen_by_all.min()) if len(not_seen_by_all) else n_keys
        hidden = torch.zeros(visible[rows, first:n_keys].shape)
        hidden.masked_fill_(~visible[rows, first:n_keys], float('-inf'))
        blocks.append(Block(rows, n_keys, first, hidden))
    return Plan(keys, tuple(blocks))


def attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan, dropout: float = 0.0) -> Tensor:
    """Mix values by attention.

    q, k, v : [ B x H x T x W ], on a processor
    dropout : probability with which a weight is dropped; those kept grow to make up for it
    returns : [ B x H x T x W ]
    """
    n, n_head = q.shape[:2]
    k, v = (x.index_select(2, plan.keys).flatten(0, 1) for x in (k, v))
    return _Attention.apply(q.flatten(0, 1), k, v, plan, dropout).unflatten(0, (n, n_head))


def drop(x: Tensor, p: float) -> Tensor:
    """`F.dropout` with cheaper random numbers, on a processor."""
    return _Dropout.apply(x, p) if p > 0 else x


class _Attention(torch.autograd.Function):
    """q : [ B·H x T x W ]    k, v : [ B·H x K x W ]

    With dropout a weight is kept for the backward pass halved, with its sign for a mark: negative means dropped.
    """

    @staticmethod
    def forward(ctx, q, k, v, plan, dropout):
        scale = q.shape[-1] ** -0.5
        out = torch.empty_like(q)
        kept_weights = []
        for block in plan.blocks:
            weights = torch.bmm(q[:, block.rows], k[:, :block.n_keys].mT)             # [ B·H x rows x n_keys ]
            weights *= scale
            weights[:, :, block.first:] += block.hidden
            torch.softmax(weights, dim=-1, out=weights)
            mixing, growth = weights, 1.0
            if dropout > 0:
                marks, share_kept = random_marks(weights, dropout)                    # ± 1/2
                weights *= marks
                mixing, growth = torch.clamp(weights, min=0, out=marks), 2 / share_kept
            torch.mul(torch.bmm(mixing, v[:, :block.n_keys]), growth, out=out[:, block.rows])
            kept_weights.append(weights)
        ctx.save_for_backward(q, k, v, out, *kept_weights)
        ctx.plan, ctx.dropout, ctx.scale = plan, dropout, scale
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, out, *kept_weights = ctx.saved_tensors
        share_kept = _share_kept(ctx.dropout)
        growth = 2 / share_kept if ctx.dropout > 0 else 1.0
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        sums = (grad * out).sum(dim=-1, keepdim=True)       # [ B·H x T x 1 ]  of every weight times its gradient
        first, second = (grad.new_empty(max(map(len, map(torch.flatten, kept_weights)))) for _ in range(2))
        for block, weights in zip(ctx.plan.blocks, kept_weights, strict=True):
            keys, rows = slice(block.n_keys), block.rows
            grad_weights = torch.bmm(grad[:, rows], v[:, keys].mT, out=first[:weights.numel()].view(weights.shape))
            scratch = second[:weights.numel()].view(weights.shape)
            if ctx.dropout > 0:
                mixing = torch.clamp(weights, min=0, out=scratch)
                grad_v[:, keys].add_(torch.bmm(mixing.mT, grad[:, rows]), alpha=growth)
                grad_weights *= mixing
                grad_weights.addcmul_(torch.abs(weights, out=scratch), sums[:, rows], value=-share_kept)
            else:
                grad_v[:, keys] += torch.bmm(weights.mT, grad[:, rows])
                grad_weights -= sums[:, rows]
                grad_weights *= weights
            grad_k[:, keys].add_(torch.bmm(grad_weights.mT, q[:, rows]), alpha=growth * ctx.scale)
            torch.mul(torch.bmm(grad_weights, k[:, keys]), growth * ctx.scale, out=grad_q[:, rows])
        return grad_q, grad_k, grad_v, None, None


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p):
        marks, share_kept = random_marks(x, p)
        marks += 0.5                                                                  # 0 or 1
        marks /= share_kept
        ctx.save_for_backward(marks)
        return x * marks

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


def random_marks(like: Tensor, p: float) -> tuple[Tensor, float]:
    """Decide what to drop: −1/2 with probability p, else 1/2, in the shape of `like`; and the share that is kept.

    Sixteen bits decide, where `bernoulli_` spends 32 and a slower way to turn them into a number.
    """
    share_kept = _share_kept(p)
    bits = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-2 ** 63, None)
    bits = bits.view(torch.int16)[:like.numel()].view(like.shape)
    least_kept = 2 ** (RANDOM_BITS - 1) - share_kept * 2 ** RANDOM_BITS               # a whole number
    marks = like.new_empty(like.shape).copy_(bits)
    return marks.clamp_(least_kept - 1, least_kept).sub_(least_kept - 0.5), share_kept


def _share_kept(p):
    return 1 - round(p * 2 ** RANDOM_BITS) / 2 ** RANDOM_BITS
