"""Attention with dropout on a CPU, in training, where PyTorch has no fused kernel for it.

Without dropout `scaled_dot_product_attention` is as fast; with it, it falls back to the full matrices, and this is 1.4
to 2.3 times as fast (benchmarks/bench_train.py). Most of what a causal mask hides is never computed, because queries
are read in blocks, each with the keys that its last query sees; and keys that nobody may see, the value columns, are
left out. Forward and backward work in place on one block of weights at a time.

    B  sequences    H  heads    T  tokens    K  keys that somebody sees    W  width of a head
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

ROWS_PER_BLOCK = 50
RANDOM_BITS = 16  # a drop probability is a multiple of 2^-16


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
class AttentionBlocks:
    """How attention under one mask is computed.    keys : [ K ]  the places of the keys that somebody sees"""

    keys: Tensor
    blocks: tuple[Block, ...]


def make_attention_blocks(visible: Tensor, rows_per_block: int = ROWS_PER_BLOCK) -> AttentionBlocks:
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
    return AttentionBlocks(keys, tuple(blocks))


def attend(qkv: Tensor, blocks: AttentionBlocks, dropout: float) -> Tensor:
    """Mix values by attention.

    qkv     : [ B x T x 3 x H x W ]  queries, keys and values, on a CPU
    dropout : in (0, 1), the probability with which a weight is dropped; those kept grow to make up for it
    returns : [ B x T x H x W ]
    """
    return _Attention.apply(qkv, blocks, dropout)


class Dropout(nn.Dropout):
    """`nn.Dropout`, with cheaper random numbers where torch's are dear: on a processor."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and 0 < self.p < 1 and x.device.type == 'cpu':
            return _Dropout.apply(x, self.p)
        return super().forward(x)


class _Attention(torch.autograd.Function):
    """A weight is kept for the backward pass halved, with its sign for a mark: negative means dropped."""

    @staticmethod
    @torch.amp.custom_fwd(device_type='cpu', cast_inputs=torch.float32)  # weights of 8 bits would not add up to 1
    def forward(ctx, qkv, plan, dropout):
        n, n_tokens, _, n_head, width = qkv.shape
        q, k, v = qkv.unbind(dim=2)
        q, k, v = (_by_head(x) for x in (q, k.index_select(1, plan.keys), v.index_select(1, plan.keys)))
        out = qkv.new_empty(n, n_tokens, n_head, width)
        kept_weights = []
        for block in plan.blocks:
            weights = torch.bmm(q[:, block.rows], k[:, : block.n_keys].mT)  # [ B·H x rows x n_keys ]
            weights *= width**-0.5
            weights[:, :, block.first :] += block.hidden
            torch.softmax(weights, dim=-1, out=weights)
            marks, share_kept = dropout_mask(weights, dropout)  # ± 1/2
            weights *= marks
            mixing = torch.clamp(weights, min=0, out=marks)
            mixed = torch.bmm(mixing, v[:, : block.n_keys]).unflatten(0, (n, n_head))
            torch.mul(mixed.transpose(1, 2), 2 / share_kept, out=out[:, block.rows])
            kept_weights.append(weights)
        ctx.save_for_backward(q, k, v, out, *kept_weights)
        ctx.plan, ctx.dropout = plan, dropout
        return out

    @staticmethod
    @torch.amp.custom_bwd(device_type='cpu')
    def backward(ctx, grad):
        q, k, v, out, *kept_weights = ctx.saved_tensors
        n, n_tokens, n_head, width = grad.shape
        share_kept = _share_kept(ctx.dropout)
        growth = 2 / share_kept
        sums = _by_head((grad * out).sum(dim=-1, keepdim=True))  # [ B·H x T x 1 ]  of weight × gradient
        grad = _by_head(grad)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        room = q.new_empty(2, max(weights.numel() for weights in kept_weights))
        for block, weights in zip(ctx.plan.blocks, kept_weights, strict=True):
            keys, rows = slice(block.n_keys), block.rows
            grad_weights, scratch = room[:, : weights.numel()].view(2, *weights.shape)
            torch.bmm(grad[:, rows], v[:, keys].mT, out=grad_weights)
            mixing = torch.clamp(weights, min=0, out=scratch)
            grad_v[:, keys].add_(torch.bmm(mixing.mT, grad[:, rows]), alpha=growth)
            grad_weights *= mixing
            grad_weights.addcmul_(torch.abs(weights, out=scratch), sums[:, rows], value=-share_kept)
            scale = growth * width**-0.5
            grad_k[:, keys].add_(torch.bmm(grad_weights.mT, q[:, rows]), alpha=scale)
            torch.mul(torch.bmm(grad_weights, k[:, keys]), scale, out=grad_q[:, rows])
        grad_qkv = q.new_zeros(n, n_tokens, 3, n_head, width)
        grad_qkv[:, :, 0] = grad_q.unflatten(0, (n, n_head)).transpose(1, 2)
        grad_qkv[:, ctx.plan.keys, 1] = grad_k.unflatten(0, (n, n_head)).transpose(1, 2)
        grad_qkv[:, ctx.plan.keys, 2] = grad_v.unflatten(0, (n, n_head)).transpose(1, 2)
        return grad_qkv, None, None


def _by_head(x):
    """[ B x T x H x W ] to [ B·H x T x W ]"""
    return x.transpose(1, 2).flatten(0, 1).contiguous()


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p):
        marks, share_kept = dropout_mask(x, p)
        marks += 0.5  # 0 or 1
        marks = marks.div_(share_kept).to(x.dtype)
        ctx.save_for_backward(marks)
        return x * marks

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


def dropout_mask(like: Tensor, p: float) -> tuple[Tensor, float]:
    """Decide what to drop: −1/2 with probability p, else 1/2, in the shape of `like`; and the share that is kept.

    Sixteen bits decide, where `bernoulli_` spends 32 and a slower way to turn them into a number.
    """
    share_kept = _share_kept(p)
    bits = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = bits.view(torch.int16)[: like.numel()].view(like.shape)
    least_kept = 2 ** (RANDOM_BITS - 1) - share_kept * 2**RANDOM_BITS  # a whole number
    marks = torch.empty(like.shape).copy_(bits)
    return marks.clamp_(least_kept - 1, least_kept).sub_(least_kept - 0.5), share_kept


def _share_kept(p):
    return 1 - round(p * 2**RANDOM_BITS) / 2**RANDOM_BITS
