"""Read on from what a model has read: keys and values are kept, so a new token costs one token's work.

Exact, and no more work than the next prediction needs:
- what the rows of a group share (an episode's context) is read once a group, not once a row;
- nobody attends to a value column, so its key and value are never computed, nor its layers, unless it is the last
  token read and so makes the next prediction;
- the last layer computes an output for the last token alone.

    G  groups      R  rows of a group      S  tokens a group shares      T  tokens of each row after them
    L  layers      H  heads                E  embedding                  V  tokens to choose from
"""
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Cache:
    """What a batch of rows has read: a key and a value per layer for each token, value columns left out.

    shared : L x (keys, values), each [ G x H x S' x E/H ], seen by all rows of the group
    own    : L x (keys, values), each [ G·R x H x room x E/H ], the first `n_own` filled
    n_read : tokens read, value columns included: the place of the next one
    """

    shared: list[tuple[Tensor, Tensor]]
    own: list[tuple[Tensor, Tensor]]
    n_own: int
    n_read: int

    def select(self, rows: Tensor) -> 'Cache':
        """The cache of some of the rows, in a new order; a row may come more than once.

        rows : [ G·R' ]  indices among the G·R, each within its group
        """
        own = []
        for pair in self.own:
            picked = tuple(kept.new_empty(len(rows), *kept.shape[1:]) for kept in pair)
            for new, kept in zip(picked, pair, strict=True):
                new[:, :, :self.n_own] = kept[rows, :, :self.n_own]
            own.append(picked)
        return Cache(self.shared, own, self.n_own, self.n_read)


@dataclass(frozen=True)
class _Layer:
    """The weights of one block, query, key and value side by side."""

    ln1: tuple[Tensor, Tensor, float]
    ln2: tuple[Tensor, Tensor, float]
    qkv: tuple[Tensor, Tensor]
    proj: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]


class Decoder:
    """A model's weights, as they are now, arranged for reading token by token.

    goal : [ G x observation_dim ]  tokens each group is to reach; for a `ConditionalGPT`
    """

    def __init__(self, model, goal: Tensor | None = None):
        self.model = model
        self.n_head = model.blocks[0].attn.n_head
        self.layers = [_arrange(block) for block in model.blocks]
        self.ln_f = (model.ln_f.weight, model.ln_f.bias, model.ln_f.eps)
        self.goal = goal

    # ------------------------------- prefill ------------------------------ #

    def prefill(self, shared: Tensor, own: Tensor, room: int) -> tuple[Tensor, Cache]:
        """Read whole sequences at once, from the first column of a transition on.

        shared  : [ G x S ]  what all rows of a group begin with
        own     : [ G·R x T ]  how each row goes on; T may be 0
        room    : tokens each row may still read by `step`
        returns : [ G·R x V ] logits of the next token, and the cache
        """
        n_shared, n_read = shared.shape[1], shared.shape[1] + own.shape[1]
        last, nothing = None, self._nothing(shared)
        before = [nothing] * len(self.layers)
        if n_shared or self.model.n_goal:
            hidden, keeps = self._embed(shared, start=0, is_last=not own.shape[1])
            if self.model.n_goal:
                hidden = torch.cat([self.model.embed_goal(self.goal), hidden], dim=1)
                keeps = torch.cat([keeps.new_ones(self.model.n_goal), keeps])
            before, last = self._read(hidden, keeps, before, n_goal=self.model.n_goal, predicts=not own.shape[1])

        if own.shape[1]:
            hidden, keeps = self._embed(own, start=n_shared, is_last=True)
            own_pairs, last = self._read(hidden, keeps, before, n_goal=0, predicts=True)
        else:
            last = last.repeat_interleave(len(own) // len(shared), dim=0)
            own_pairs = [self._nothing(own)] * len(self.layers)
        n_own = own_pairs[0][0].shape[2]
        own_pairs = [tuple(_with_room(kept, n_own + room) for kept in pair) for pair in own_pairs]
        return self._logits(last, n_read), Cache(before, own_pairs, n_own, n_read)

    def _nothing(self, tokens):
        """No keys, and no values, a row."""
        weight = self.model.pos_emb
        none = weight.new_empty(len(tokens), self.n_head, 0, weight.shape[-1] // self.n_head)
        return none, none

    def _embed(self, tokens, start, is_last):
        """Embed all tokens but value columns (save the last one, if it predicts); say which are worth a key."""
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        is_kept = places % self.model.transition_dim != self.model.layout.value
        is_read = is_kept.clone()
        if is_last:
            is_read[-1:] = True
        return self.model.embed(tokens, start)[:, is_read], is_kept[is_read]

    def _read(self, hidden, keeps, before, n_goal, predicts):
        """All layers over [ B x T x E ], a goal of `n_goal` tokens first, after the keys and values `before` it.

        returns : L x (keys, values) of the tokens that `keeps` names, and [ B x E ] the last token's output, if asked
        """
        n_tokens = hidden.shape[1]
        visible = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=hidden.device).tril()
        visible[:, :n_goal] = True
        visible = visible[:, keeps]
        pairs = []
        for number, layer in enumerate(self.layers):
            is_top = number == len(self.layers) - 1
            normed = F.layer_norm(hidden, hidden.shape[-1:], *layer.ln1)
            q, k, v = self._qkv(normed, layer)                                         # [ B x H x T x E/H ]
            k, v = k[:, :, keeps], v[:, :, keeps]
            pairs.append((k, v))
            if is_top:
                if not predicts:
                    break
                q, hidden, visible = q[:, :, -1:], hidden[:, -1:], visible[-1:]
            if before[number][0].shape[2]:
                earlier = [kept.repeat_interleave(len(k) // len(kept), dim=0) for kept in before[number]]
                k, v = (torch.cat(both, dim=2) for both in zip(earlier, (k, v), strict=True))
            seen = F.pad(visible, (k.shape[2] - visible.shape[1], 0), value=True)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
            hidden = self._finish(hidden, mixed.transpose(1, 2).flatten(2), layer)
        return pairs, hidden[:, -1] if predicts else None

    # -------------------------------- step -------------------------------- #

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Read one more token a row.

        tokens  : [ G·R x 1 ]
        returns : [ G·R x V ] logits of the next token, and the cache with this one in it; the cache given is spent,
                  for both share their memory
        """
        keeps = cache.n_read % self.model.transition_dim != self.model.layout.value
        hidden = self.model.embed(tokens, cache.n_read)[:, 0]                          # [ B x E ]
        n_own = cache.n_own + keeps
        for layer, shared, own in zip(self.layers, cache.shared, cache.own, strict=True):
            normed = F.layer_norm(hidden, hidden.shape[-1:], *layer.ln1)
            q, k, v = F.linear(normed, *layer.qkv).view(len(hidden), 3, self.n_head, -1).unbind(1)
            if keeps:
                own[0][:, :, cache.n_own] = k
                own[1][:, :, cache.n_own] = v
            mixed = _attend(q, shared, (own[0][:, :, :n_own], own[1][:, :, :n_own]))
            hidden = self._finish(hidden, mixed.flatten(1), layer)
        return self._logits(hidden, cache.n_read + 1), Cache(cache.shared, cache.own, n_own, cache.n_read + 1)

    # ------------------------------- layers ------------------------------- #

    def _qkv(self, normed, layer):
        joined = F.linear(normed, *layer.qkv)
        return joined.unflatten(-1, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)

    def _finish(self, hidden, mixed, layer):
        """The rest of a block, after its attention.    hidden, mixed, returns : [ … x E ]"""
        hidden = hidden + F.linear(mixed, *layer.proj)
        normed = F.layer_norm(hidden, hidden.shape[-1:], *layer.ln2)
        return hidden + F.linear(F.gelu(F.linear(normed, *layer.up)), *layer.down)

    def _logits(self, hidden, n_read):
        """[ B x V ]  what follows `n_read` tokens: the head of the last one's column."""
        column = (n_read - 1) % self.model.transition_dim
        return F.linear(F.layer_norm(hidden, hidden.shape[-1:], *self.ln_f), self.model.head.weight[column])


def _arrange(block) -> _Layer:
    attn, mlp = block.attn, block.mlp
    joined = (attn.query, attn.key, attn.value)
    return _Layer(
        ln1=(block.ln1.weight, block.ln1.bias, block.ln1.eps),
        ln2=(block.ln2.weight, block.ln2.bias, block.ln2.eps),
        qkv=(torch.cat([layer.weight for layer in joined]), torch.cat([layer.bias for layer in joined])),
        proj=(attn.proj.weight, attn.proj.bias),
        up=(mlp[0].weight, mlp[0].bias),
        down=(mlp[2].weight, mlp[2].bias),
    )


def _with_room(kept, room):
    """The same keys or values in a buffer for `room` tokens."""
    buffer = kept.new_empty(*kept.shape[:2], room, kept.shape[-1])
    buffer[:, :, :kept.shape[2]] = kept
    return buffer


def _attend(q, shared, own):
    """One query a row, over its group's keys and its own.    q, returns : [ G·R x H x E/H ]"""
    n_groups, n_head, n_shared, _ = shared[0].shape
    q = q * q.shape[-1] ** -0.5
    weights = q[:, :, None] @ own[0].transpose(-2, -1)                                 # [ G·R x H x 1 x T' ]
    if not n_shared:
        return (weights.softmax(dim=-1) @ own[1])[:, :, 0]
    grouped = q.view(n_groups, -1, n_head, q.shape[-1]).transpose(1, 2)                # [ G x H x R x E/H ]
    to_shared = (grouped @ shared[0].transpose(-2, -1)).transpose(1, 2).flatten(0, 1)  # [ G·R x H x S' ]
    weights = torch.cat([to_shared, weights[:, :, 0]], dim=-1).softmax(dim=-1)
    over_shared = weights[..., :n_shared].unflatten(0, (n_groups, -1)).transpose(1, 2)
    from_shared = (over_shared @ shared[1]).transpose(1, 2).flatten(0, 1)              # [ G·R x H x E/H ]
    return from_shared + (weights[:, :, None, n_shared:] @ own[1])[:, :, 0]
