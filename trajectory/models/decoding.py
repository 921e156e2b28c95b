"""Read on from what a model has read: keys and values are kept, so a new token costs one token's work.

Exact, and no more work than the next prediction needs:
- what the rows of a group share (an episode's context) is read once a group, not once a row, and what some of its
  rows share (the survivors of a beam descend from few) once for all of those;
- nobody attends to a value column, so its key and value are never computed, nor its layers, unless it is the last
  token read and so makes the next prediction;
- the last layer computes an output for the last token alone.

    G  groups      R  rows of a group      S  tokens a group shares      T  tokens of each row after them
    L  layers      H  heads                E  embedding                  V  tokens to choose from
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class KVSegment:
    """Keys and values of a stretch of tokens, value columns left out, that several rows may have in common.

    pairs : L x [ 2 x G·M x H x room x E/H ], keys and then values; row r of a group looks into its group's r % M
    n     : how many of the room are filled
    flat  : L x ([ G·M·H x room x E/H ], the same), the same memory
    """

    pairs: list[Tensor]
    n: int
    flat: list[tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, pairs: list[Tensor], n: int) -> 'KVSegment':
        return cls(pairs, n, [tuple(pair.flatten(1, 2).unbind()) for pair in pairs])

    @property
    def n_rows(self) -> int:
        return self.pairs[0].shape[1]

    @property
    def room(self) -> int:
        return self.pairs[0].shape[3] - self.n

    def filled(self, layer: int) -> Tensor:
        """Keys and values of a layer, [ 2 x G·M x H x n x E/H ]."""
        return self.pairs[layer][:, :, :, : self.n]


@dataclass(frozen=True)
class KVCache:
    """What a batch of rows has read, in segments: what a group shares first, a row's own tokens last.

    n_rows : G·R
    n_read : tokens read, value columns included: the place of the next one
    """

    segments: tuple[KVSegment, ...]
    n_groups: int
    n_rows: int
    n_read: int

    def repeat(self, n: int) -> 'KVCache':
        """The cache of every row n times over, a whole group each time; nothing is copied."""
        return replace(self, n_rows=n * self.n_rows)

    def select(self, rows: Tensor) -> 'KVCache':
        """The cache of some of the rows, in a new order; a row may come more than once.

        rows : [ G·R' ]  indices among the G·R, each within its group
        """
        group, row = rows // (self.n_rows // self.n_groups), rows % (self.n_rows // self.n_groups)
        shared = [segment for segment in self.segments if segment.n_rows == self.n_groups]
        others = [segment for segment in self.segments if segment.n_rows > self.n_groups]
        places = [
            group * n_apart + row % n_apart for n_apart in (segment.n_rows // self.n_groups for segment in others)
        ]
        own = [
            torch.cat([segment.filled(layer)[:, where] for segment, where in zip(others, places, strict=True)], dim=3)
            for layer in range(len(self.segments[0].pairs) if others else 0)
        ]
        segments = (*shared, KVSegment.of(own, own[0].shape[3])) if own else tuple(shared)
        return replace(self, segments=segments, n_rows=len(rows))

    @staticmethod
    def select_from(caches: Sequence['KVCache'], owner: Tensor, rows: Tensor) -> 'KVCache':
        """The cache of rows of several caches, which have read equally many tokens, at least one of each row's own.

        owner : [ G·R' ]  index of the cache that each row is in
        rows  : [ G·R' ]  indices among the rows of that cache, each within its group
        """
        chosen = [cache.select(rows[owner == number]) for number, cache in enumerate(caches)]
        order = owner.argsort(stable=True).argsort()  # of the rows, which the next line has cache by cache
        pairs = [
            torch.cat(layers, dim=1).index_select(1, order)
            for layers in zip(*(cache.segments[-1].pairs for cache in chosen), strict=True)
        ]
        segments = (*chosen[0].segments[:-1], KVSegment.of(pairs, chosen[0].segments[-1].n))
        return replace(chosen[0], segments=segments, n_rows=len(rows))


@dataclass(frozen=True)
class _Layer:
    """The weights of one block: query, key and value side by side, the query divided by √(E/H) beforehand."""

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

    def prefill(self, shared: Tensor, own: Tensor) -> tuple[Tensor, KVCache]:
        """Read whole sequences at once, from the first column of a transition on.

        shared  : [ G x S ]  what all rows of a group begin with
        own     : [ G·R x T ]  how each row goes on; T may be 0
        returns : [ G·R x V ] logits of the next token, and the cache
        """
        n_groups, n_rows = len(shared), len(own)
        node = torch.arange(n_groups, device=own.device).repeat_interleave(n_rows // n_groups)  # a row's, in `path`
        segments, path, last = [], None, None
        if shared.shape[1] or self.model.n_goal:
            path, last = self._read_shared(shared, predicts=not own.shape[1])
            segments.append(KVSegment.of(path, path[0].shape[3]))
        *alike, rest = self._stretches(shared.shape[1], own.shape[1])
        for start, end in alike:
            parent, tokens, node = _unique_rows(node, own[:, start:end])
            hidden, n_keys = self._embed(tokens, shared.shape[1] + start, predicts=False)
            path, _ = self._read(hidden, n_keys, _of_nodes(path, parent), predicts=False)
        if own.shape[1]:
            hidden, n_keys = self._embed(own[:, rest:], shared.shape[1] + rest, predicts=True)
            path, last = self._read(
                hidden, n_keys, _of_nodes(path, node), predicts=True, room=self.model.transition_dim
            )
            n_kept = segments[0].n if segments else 0
            pairs = [pair[:, :, :, n_kept:] for pair in path]
            segments.append(KVSegment.of(pairs, pairs[0].shape[3] - self.model.transition_dim))
            node = torch.arange(n_rows, device=own.device)
        n_read = shared.shape[1] + own.shape[1]
        return self._logits(last, n_read)[node], KVCache(tuple(segments), n_groups, n_rows, n_read)

    def _stretches(self, n_shared, n_own):
        """Cut the rows' own tokens where candidates part, before each action, but not before the last.

        returns : starts and ends of stretches that some rows may have in common, then the start of the rest
        """
        observation_dim, dim = self.model.observation_dim, self.model.transition_dim
        cuts = [0, *range((observation_dim - n_shared) % dim or dim, n_own, dim)]
        cuts = cuts[:-1] or cuts
        return [*pairwise(cuts), cuts[-1]]

    def _read_shared(self, shared, predicts):
        hidden, n_keys = self._embed(shared, 0, predicts)
        if self.model.n_goal:
            hidden = torch.cat([self.model.embed_goal(self.goal), hidden], dim=1)
        return self._read(hidden, self.model.n_goal + n_keys, None, predicts, n_goal=self.model.n_goal)

    def _writable(self, cache):
        """The cache, its last segment one that has room for a token of every row."""
        if cache.segments and cache.segments[-1].n_rows == cache.n_rows and cache.segments[-1].room:
            return cache
        weight = self.model.pos_emb
        room = self.model.transition_dim - cache.n_read % self.model.transition_dim  # to the end of the transition
        shape = 2, cache.n_rows, self.n_head, room, weight.shape[-1] // self.n_head
        empty = KVSegment.of([weight.new_empty(shape) for _ in self.layers], 0)
        return replace(cache, segments=(*cache.segments, empty))

    def _embed(self, tokens, start, predicts):
        """Embed all tokens but value columns, save the last one, if it predicts; say how many are worth a key."""
        n_tokens, n_kept, first = tokens.shape[1], self.model.transition_dim - 1, start % self.model.transition_dim
        n_keys = n_tokens - ((first + n_tokens) // self.model.transition_dim)
        n_read = n_keys + (predicts and (first + n_tokens) % self.model.transition_dim == 0)
        places = first + torch.arange(n_read, device=tokens.device)  # a value column is the last of its transition
        read = (places + places // n_kept - first).clamp(max=n_tokens - 1)
        return self.model.embed(tokens, start)[:, read], n_keys

    def _read(self, hidden, n_keys, before, predicts, n_goal=0, room=0):
        """All layers over [ B x T x E ], a goal of `n_goal` tokens first.

        n_keys  : how many of the tokens, from the first on, are worth a key
        before  : L x [ 2 x B x H x n x E/H ]  keys and values of what comes before, if anything does
        returns : the same, these tokens' behind them, then room for more; [ B x E ] the last token's output, if asked
        """
        n_tokens = hidden.shape[1]
        visible = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=hidden.device).tril()
        visible[:, :n_goal] = True
        visible = F.pad(visible[:, :n_keys], (before[0].shape[3] if before else 0, 0), value=True)
        path = []
        for number, layer in enumerate(self.layers):
            is_top = number == len(self.layers) - 1
            normed = F.layer_norm(hidden, hidden.shape[-1:], *layer.ln1)
            qkv = F.linear(normed, *layer.qkv).unflatten(-1, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)
            pair = qkv[1:, :, :, :n_keys]  # [ 2 x B x H x T x E/H ]
            free = pair.new_empty(*pair.shape[:3], room, pair.shape[-1])
            path.append(torch.cat([pair, free] if before is None else [before[number], pair, free], dim=3))
            q, (k, v) = qkv[0], path[-1][:, :, :, : visible.shape[1]]  # [ B x H x … ]
            if is_top:
                if not predicts:
                    break
                q, hidden, visible = q[:, :, -1:], hidden[:, -1:], visible[-1:]
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=1.0)
            hidden = self._finish(hidden, mixed.transpose(1, 2).flatten(2), layer)
        return path, hidden[:, -1] if predicts else None

    # -------------------------------- step -------------------------------- #

    def step(self, tokens: Tensor, cache: KVCache) -> tuple[Tensor, KVCache]:
        """Read one more token a row.

        tokens  : [ G·R x 1 ]
        returns : [ G·R x V ] logits of the next token, and the cache with this one in it; the cache given is spent,
                  for both share their memory
        """
        keeps = cache.n_read % self.model.transition_dim != self.model.layout.value
        hidden = self.model.embed(tokens, cache.n_read)[:, 0]  # [ B x E ]
        segments = cache.segments
        if keeps:
            *earlier, own = self._writable(cache).segments
            segments = (*earlier, replace(own, n=own.n + 1))
        shape = len(hidden), 3, self.n_head, -1
        for number, layer in enumerate(self.layers):
            normed = F.layer_norm(hidden, hidden.shape[-1:], *layer.ln1)
            q, *pair = F.linear(normed, *layer.qkv).view(shape).unbind(1)  # [ B x H x E/H ] each
            if keeps:
                for kept, new in zip(own.flat[number], pair, strict=True):
                    kept[:, own.n] = new.flatten(0, 1)
            mixed = _attend(q, segments, number, cache.n_groups)
            hidden = self._finish(hidden, mixed, layer)
        n_read = cache.n_read + 1
        return self._logits(hidden, n_read), replace(cache, segments=segments, n_read=n_read)

    # ------------------------------- layers ------------------------------- #

    def _finish(self, hidden, mixed, layer):
        """The rest of a block, after its attention.    hidden, mixed, returns : [ … x E ]"""
        hidden = hidden + F.linear(mixed, *layer.proj)
        normed = F.layer_norm(hidden, hidden.shape[-1:], *layer.ln2)
        return hidden + F.linear(F.gelu(F.linear(normed, *layer.up)), *layer.down)

    def _logits(self, hidden, n_read):
        """[ B x V ]  what follows `n_read` tokens: the head of the last one's column."""
        column = (n_read - 1) % self.model.transition_dim
        return F.linear(F.layer_norm(hidden, hidden.shape[-1:], *self.ln_f), self.model.head_weight(column))


def _arrange(block) -> _Layer:
    attn, mlp = block.attn, block.mlp
    shrink = (attn.query.out_features // attn.n_head) ** -0.5
    return _Layer(
        ln1=(block.ln1.weight, block.ln1.bias, block.ln1.eps),
        ln2=(block.ln2.weight, block.ln2.bias, block.ln2.eps),
        qkv=(
            torch.cat([attn.query.weight * shrink, attn.key.weight, attn.value.weight]),
            torch.cat([attn.query.bias * shrink, attn.key.bias, attn.value.bias]),
        ),
        proj=(attn.proj.weight, attn.proj.bias),
        up=(mlp[0].weight, mlp[0].bias),
        down=(mlp[2].weight, mlp[2].bias),
    )


def _of_nodes(path, nodes):
    """Keys and values that lead to some nodes.    path, returns : L x [ 2 x nodes x H x n x E/H ], or nothing"""
    return path and [pair.index_select(1, nodes) for pair in path]


def _unique_rows(node, tokens):
    """Rows that came to the same node and go on with the same tokens, as one.

    node    : [ B ]  where each row is        tokens : [ B x T ]
    returns : [ U ] the node, and [ U x T ] the tokens of each distinct row, and [ B ] which of those each row is
    """
    if tokens.device.type != 'cpu':  # there to wait for their number takes longer than to read them all
        return node, tokens, torch.arange(len(node), device=node.device)
    _, which = torch.cat([node[:, None], tokens], dim=1).unique(dim=0, return_inverse=True)
    first = torch.empty(int(which.max()) + 1, dtype=torch.long).scatter_(0, which, torch.arange(len(which)))
    return node[first], tokens[first], which


def _attend(q, segments, layer, n_groups):
    """One query a row, over the keys of all segments in a layer.    q : [ G·R x H x E/H ]    returns : [ G·R x E ]"""
    scores, lengths = [], []
    for segment in segments:
        keys = segment.flat[layer][0][:, : segment.n]
        scores.append(_spread(torch.bmm(_gathered(q, len(keys), n_groups), keys.transpose(1, 2)), q.shape, n_groups))
        lengths.append(segment.n)
    weights = torch.cat(scores, dim=-1).softmax(dim=-1)  # [ G·R x H x n ]
    mixed = None
    for segment, part in zip(segments, weights.split(lengths, dim=-1), strict=True):
        values = segment.flat[layer][1][:, : segment.n]
        share = _spread(torch.bmm(_gathered(part, len(values), n_groups), values), q.shape, n_groups)
        mixed = share if mixed is None else mixed + share
    return mixed.reshape(len(q), -1)


def _gathered(x, n_parts, n_groups):
    """Rows that look into the same row of a segment, together.

    x : [ G·R x H x d ]    n_parts : G·M·H    returns : [ G·M·H x R/M x d ]
    """
    n_rows, n_head, width = x.shape
    n_alike = n_rows * n_head // n_parts
    if n_alike == 1:
        return x.reshape(n_parts, 1, width)
    return x.view(n_groups, n_alike, -1, n_head, width).permute(0, 2, 3, 1, 4).reshape(n_parts, n_alike, width)


def _spread(x, shape, n_groups):
    """The inverse.    x : [ G·M·H x R/M x d ]    shape : [ G·R x H x … ]    returns : [ G·R x H x d ]"""
    n_rows, n_head, _ = shape
    n_alike, width = x.shape[1:]
    if n_alike == 1:
        return x.view(n_rows, n_head, width)
    return x.view(n_groups, -1, n_head, n_alike, width).permute(0, 3, 1, 2, 4).reshape(n_rows, n_head, width)
