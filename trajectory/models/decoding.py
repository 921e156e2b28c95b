"""Read on from what a model has read: keys and values are kept, so a new token costs one token's work.

Exact, and no more work than the next prediction needs:
- what the rows of a group share (an episode's context) is read once a group, not once a row;
- nobody attends to a value column, so its key and value are never computed, nor its layers, unless it is the last
  token read and so makes the next prediction;
- the last layer computes an output for the last token alone.

    G  groups      R  rows of a group      S  tokens a group shares      T  tokens of each row after them
    L  layers      H  heads                E  embedding                  V  tokens to choose from
"""
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Level:
    """Keys and values of a stretch of tokens, value columns left out, that several rows may have in common.

    pairs : L x (keys, values), each [ G·M x H x room x E/H ]; row r of a group looks into its group's r % M
    n     : how many of the room are filled
    """

    pairs: list[tuple[Tensor, Tensor]]
    n: int

    @property
    def n_rows(self) -> int:
        return len(self.pairs[0][0])

    @property
    def room(self) -> int:
        return self.pairs[0][0].shape[2] - self.n

    def filled(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, [ G·M x H x n x E/H ]."""
        keys, values = self.pairs[layer]
        return keys[:, :, :self.n], values[:, :, :self.n]


@dataclass(frozen=True)
class Cache:
    """What a batch of rows has read, in levels: what a group shares first, a row's own tokens last.

    n_rows : G·R
    n_read : tokens read, value columns included: the place of the next one
    """

    levels: tuple[Level, ...]
    n_groups: int
    n_rows: int
    n_read: int

    def repeat(self, n: int) -> 'Cache':
        """The cache of every row n times over, a whole group each time; nothing is copied."""
        return replace(self, n_rows=n * self.n_rows)

    def select(self, rows: Tensor) -> 'Cache':
        """The cache of some of the rows, in a new order; a row may come more than once.

        rows : [ G·R' ]  indices among the G·R, each within its group
        """
        group, row = rows // (self.n_rows // self.n_groups), rows % (self.n_rows // self.n_groups)
        levels = []
        for level in self.levels:
            n_apart = level.n_rows // self.n_groups
            if n_apart == 1:
                levels.append(level)
                continue
            places = group * n_apart + row % n_apart
            picked = [tuple(kept[places] for kept in level.filled(layer)) for layer in range(len(level.pairs))]
            levels.append(Level(picked, level.n))
        return replace(self, levels=tuple(levels), n_rows=len(rows))


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

    def prefill(self, shared: Tensor, own: Tensor) -> tuple[Tensor, Cache]:
        """Read whole sequences at once, from the first column of a transition on.

        shared  : [ G x S ]  what all rows of a group begin with
        own     : [ G·R x T ]  how each row goes on; T may be 0
        returns : [ G·R x V ] logits of the next token, and the cache
        """
        n_groups, n_rows = len(shared), len(own)
        n_shared, n_read = shared.shape[1], shared.shape[1] + own.shape[1]
        levels, last = [], None
        if n_shared or self.model.n_goal:
            hidden, keeps = self._embed(shared, start=0, is_last=not own.shape[1])
            if self.model.n_goal:
                hidden = torch.cat([self.model.embed_goal(self.goal), hidden], dim=1)
                keeps = torch.cat([keeps.new_ones(self.model.n_goal), keeps])
            level, last = self._read(hidden, keeps, None, n_goal=self.model.n_goal, predicts=not own.shape[1])
            levels.append(level)
        if own.shape[1]:
            hidden, keeps = self._embed(own, start=n_shared, is_last=True)
            level, last = self._read(hidden, keeps, levels[0] if levels else None, n_goal=0, predicts=True)
            levels.append(self._with_room(level))
        else:
            last = last.repeat_interleave(n_rows // n_groups, dim=0)
        return self._logits(last, n_read), Cache(tuple(levels), n_groups, n_rows, n_read)

    def _with_room(self, level):
        """The same level in buffers that a transition more fits into."""
        pairs = []
        for pair in level.pairs:
            n_rows, n_head, n, width = pair[0].shape
            buffers = tuple(kept.new_empty(n_rows, n_head, n + self.model.transition_dim, width) for kept in pair)
            for buffer, kept in zip(buffers, pair, strict=True):
                buffer[:, :, :n] = kept
            pairs.append(buffers)
        return Level(pairs, level.n)

    def _writable(self, cache):
        """The cache, its last level one that has room for a token of every row."""
        if cache.levels and cache.levels[-1].n_rows == cache.n_rows and cache.levels[-1].room:
            return cache
        weight = self.model.pos_emb
        shape = cache.n_rows, self.n_head, self.model.transition_dim, weight.shape[-1] // self.n_head
        empty = Level([(weight.new_empty(shape), weight.new_empty(shape)) for _ in self.layers], 0)
        return replace(cache, levels=(*cache.levels, empty))

    def _embed(self, tokens, start, is_last):
        """Embed all tokens but value columns (save the last one, if it predicts); say which are worth a key."""
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        is_kept = places % self.model.transition_dim != self.model.layout.value
        is_read = is_kept.clone()
        if is_last:
            is_read[-1:] = True
        return self.model.embed(tokens, start)[:, is_read], is_kept[is_read]

    def _read(self, hidden, keeps, before, n_goal, predicts):
        """All layers over [ B x T x E ], a goal of `n_goal` tokens first, after the level `before` it.

        returns : the level of the tokens that `keeps` names, and [ B x E ] the last token's output, if asked
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
            if before is not None:
                earlier = [kept.repeat_interleave(len(k) // len(kept), dim=0) for kept in before.filled(number)]
                k, v = (torch.cat(both, dim=2) for both in zip(earlier, (k, v), strict=True))
            seen = F.pad(visible, (k.shape[2] - visible.shape[1], 0), value=True)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
            hidden = self._finish(hidden, mixed.transpose(1, 2).flatten(2), layer)
        return Level(pairs, pairs[0][0].shape[2]), hidden[:, -1] if predicts else None

    # -------------------------------- step -------------------------------- #

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Read one more token a row.

        tokens  : [ G·R x 1 ]
        returns : [ G·R x V ] logits of the next token, and the cache with this one in it; the cache given is spent,
                  for both share their memory
        """
        keeps = cache.n_read % self.model.transition_dim != self.model.layout.value
        hidden = self.model.embed(tokens, cache.n_read)[:, 0]                          # [ B x E ]
        levels = cache.levels
        if keeps:
            *earlier, own = self._writable(cache).levels
            levels = (*earlier, replace(own, n=own.n + 1))
        for number, layer in enumerate(self.layers):
            normed = F.layer_norm(hidden, hidden.shape[-1:], *layer.ln1)
            q, k, v = F.linear(normed, *layer.qkv).view(len(hidden), 3, self.n_head, -1).unbind(1)
            if keeps:
                own.pairs[number][0][:, :, own.n] = k
                own.pairs[number][1][:, :, own.n] = v
            mixed = _attend(q, [level.filled(number) for level in levels], cache.n_groups)
            hidden = self._finish(hidden, mixed.flatten(1), layer)
        n_read = cache.n_read + 1
        return self._logits(hidden, n_read), replace(cache, levels=levels, n_read=n_read)

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


def _attend(q, levels, n_groups):
    """One query a row, over the keys of all levels.    q, returns : [ G·R x H x E/H ]"""
    q = q * q.shape[-1] ** -0.5
    scores = [_spread(_gathered(q, len(keys), n_groups) @ keys.transpose(-2, -1), len(q), n_groups)
              for keys, _ in levels]                                                   # [ G·R x H x n ]
    weights = torch.cat(scores, dim=-1).softmax(dim=-1)
    parts = weights.split([keys.shape[2] for keys, _ in levels], dim=-1)
    return sum(_spread(_gathered(part, len(values), n_groups) @ values, len(q), n_groups)
               for part, (_, values) in zip(parts, levels, strict=True))


def _gathered(x, n_level_rows, n_groups):
    """Rows that look into the same row of a level, together.

    x : [ G·R x H x d ]    returns : [ G·M x H x R/M x d ]
    """
    x = x.unflatten(0, (n_groups, -1, n_level_rows // n_groups))                       # [ G x R/M x M x H x d ]
    return x.permute(0, 2, 3, 1, 4).flatten(0, 1)


def _spread(x, n_rows, n_groups):
    """The inverse.    x : [ G·M x H x R/M x d ]    returns : [ G·R x H x d ]"""
    x = x.unflatten(0, (n_groups, -1)).permute(0, 3, 1, 2, 4)                          # [ G x R/M x M x H x d ]
    return x.reshape(n_rows, *x.shape[3:])
