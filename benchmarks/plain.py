"""The model with other forms of attention: the reference's, which keeps a copy of every map, and PyTorch's kernel."""

import math

import torch
from torch import nn

from trajectory.models import GPT
from trajectory.models.transformers import Block, CausalSelfAttention


class PlainAttention(CausalSelfAttention):
    """Attention as the reference writes it."""

    def __init__(self, config):
        super().__init__(config)
        self.attn_drop = nn.Dropout(config.attn_pdrop)

    def forward(self, x):
        n, n_tokens, width = x.shape
        q, k, v = (
            layer(x).view(n, n_tokens, self.n_head, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        weights = (q @ k.transpose(-2, -1)) / math.sqrt(k.shape[-1])
        weights = weights.masked_fill(self.mask[:, :, :n_tokens, :n_tokens] == 0, float('-inf')).softmax(dim=-1)
        self._attn_map = weights.clone()
        mixed = self.attn_drop(weights) @ v
        return self.resid_drop(self.proj(mixed.transpose(1, 2).contiguous().view(n, n_tokens, width)))


class FusedAttention(CausalSelfAttention):
    """Attention by PyTorch's `scaled_dot_product_attention`, on a CPU in training too."""

    def forward(self, x):
        layers = (self.query, self.key, self.value)
        qkv = torch.stack([layer(x) for layer in layers], dim=2).unflatten(-1, (self.n_head, -1))
        mixed = self.attend_fused(qkv, self.attn_drop.p if self.training else 0.0)
        return self.resid_drop(self.proj(mixed.flatten(2)))


class PlainBlock(Block):
    attention = PlainAttention


class FusedBlock(Block):
    attention = FusedAttention


class PlainGPT(GPT):
    block = PlainBlock


class FusedGPT(GPT):
    block = FusedBlock
