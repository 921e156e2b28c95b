"""Small networks that change what a frozen GPT-2 computes: LoRA, IA3, prompts, prefixes, adapters; alone or pooled.

All parameters have a leading dimension P, of modulators in a pool; a lone one has P = 1. `ids` [ B ] tell which of them
each sequence gets; -1 is none, and changes nothing. L layers, d width, r rank.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LORA_A_STD = 1 / math.sqrt(3)  # of the uniform bound 1 / √fan_in, as PyTorch starts linear layers


class Modulator(nn.Module):
    """Changes nothing; what a modulator changes it overrides."""

    n_prompt: int = 0  # tokens that it puts before the others

    def attention_inputs(self, layer: int, x: Tensor, q: Tensor, k: Tensor, v: Tensor, ids: Tensor):
        """Queries, keys and values of x.    all [ B x T x d ]"""
        return q, k, v

    def prefix(self, layer: int, ids: Tensor) -> tuple[Tensor, Tensor] | None:
        """Keys and values that every token sees besides, [ B x n x d ] each."""
        return None

    def input_prompt(self, ids: Tensor) -> Tensor | None:
        """Tokens that join the input, [ B x n x d ]."""
        return None

    def prompt(self, layer: int, ids: Tensor) -> Tensor | None:
        """Tokens that take the place of the prompt before this layer, [ B x n x d ]."""
        return None

    def attention_output(self, layer: int, y: Tensor, ids: Tensor) -> Tensor:
        return y

    def mlp_hidden(self, layer: int, u: Tensor, activation, ids: Tensor) -> Tensor:
        """The MLP's activations.    u : [ B x T x 4d ]  before the nonlinearity"""
        return activation(u)

    def mlp_output(self, layer: int, y: Tensor, ids: Tensor) -> Tensor:
        return y


def gather(pool: Tensor, ids: Tensor) -> Tensor:
    """The parameters of each sequence.    pool : [ P x ... ]    returns : [ B x ... ]; of the id -1, any"""
    return pool[ids.clamp(min=0)]


def _is_on(ids: Tensor, like: Tensor) -> Tensor:
    return (ids >= 0).to(like).view(-1, *(1,) * (like.ndim - 1))


class LoRA(Modulator):
    """Low-rank updates (Hu et al. 2022), h A B · scaling with B at first 0.

    targets : of q, k, v, ff. `ff` adds to the first MLP layer's output u, before the nonlinearity: u += s · u A B
    alpha   : scaling · rank
    """

    def __init__(self, width: int, n_layer: int, n_pool: int = 1, targets=('q', 'v'), rank: int = 8, alpha: int = 16):
        super().__init__()
        self.targets, self.scaling = tuple(targets), alpha / rank
        for target in self.targets:
            size = 4 * width if target == 'ff' else width
            bound = LORA_A_STD * math.sqrt(3) / math.sqrt(size)
            start = torch.empty(n_pool, n_layer, size, rank).uniform_(-bound, bound)
            setattr(self, f'A_{target}', nn.Parameter(start))
            setattr(self, f'B_{target}', nn.Parameter(torch.zeros(n_pool, n_layer, rank, size)))

    def _update(self, target, layer, x, ids):
        down, up = (gather(getattr(self, f'{name}_{target}')[:, layer], ids) for name in 'AB')
        return self.scaling * _is_on(ids, x) * (x @ down @ up)

    def attention_inputs(self, layer, x, q, k, v, ids):
        parts = {'q': q, 'k': k, 'v': v}
        for target in set(self.targets) & set(parts):
            parts[target] = parts[target] + self._update(target, layer, x, ids)
        return parts['q'], parts['k'], parts['v']

    def mlp_hidden(self, layer, u, activation, ids):
        return activation(u + self._update('ff', layer, u, ids) if 'ff' in self.targets else u)


class IA3(Modulator):
    """Vectors that scale what a layer computes (Liu et al. 2022), at first 1.

    targets     : of q, k, v, ff (the MLP's activations) and out (the MLP's output)
    before_gelu : scale what goes into the nonlinearity in place of what comes out
    """

    def __init__(self, width: int, n_layer: int, n_pool: int = 1, targets=('v', 'k', 'ff'), before_gelu: bool = False):
        super().__init__()
        self.targets, self.before_gelu = tuple(targets), before_gelu
        for target in self.targets:
            size = 4 * width if target == 'ff' else width
            setattr(self, f'l_{target}', nn.Parameter(torch.ones(n_pool, n_layer, size)))

    def _scale(self, target, layer, x, ids):
        if target not in self.targets:
            return x
        scale = gather(getattr(self, f'l_{target}')[:, layer], ids)[:, None]
        return x * torch.where(ids[:, None, None] >= 0, scale, torch.ones_like(scale))

    def attention_inputs(self, layer, x, q, k, v, ids):
        return tuple(self._scale(target, layer, part, ids) for target, part in (('q', q), ('k', k), ('v', v)))

    def mlp_hidden(self, layer, u, activation, ids):
        if self.before_gelu:
            return activation(self._scale('ff', layer, u, ids))
        return self._scale('ff', layer, activation(u), ids)

    def mlp_output(self, layer, y, ids):
        return self._scale('out', layer, y, ids)


class Prompts(Modulator):
    """Learned tokens before the others, at the input (Lester et al. 2021), or anew at each layer (Liu et al. 2022)."""

    def __init__(self, width: int, n_layer: int, n_pool: int = 1, length: int = 25, deep: bool = False):
        super().__init__()
        self.n_prompt, self.deep = length, deep
        self.tokens = nn.Parameter(0.02 * torch.randn(n_pool, n_layer if deep else 1, length, width))

    def input_prompt(self, ids):
        return None if self.deep else gather(self.tokens[:, 0], ids)

    def prompt(self, layer, ids):
        return gather(self.tokens[:, layer], ids) if self.deep else None


class Prefix(Modulator):
    """Learned keys and values that every token sees (Li and Liang 2021).    n_layer : that have them, the first ones"""

    def __init__(self, width: int, n_layer: int, n_pool: int = 1, length: int = 25):
        super().__init__()
        self.n_layer = n_layer
        self.keys, self.values = (nn.Parameter(0.02 * torch.randn(n_pool, n_layer, length, width)) for _ in range(2))

    def prefix(self, layer, ids):
        if layer >= self.n_layer:
            return None
        return gather(self.keys[:, layer], ids), gather(self.values[:, layer], ids)


class Adapters(Modulator):
    """Bottlenecks after attention and MLP (Houlsby et al. 2019), y + W_up silu(W_down y) with W_up at first 0."""

    def __init__(self, width: int, n_layer: int, n_pool: int = 1, reduction: int = 16):
        super().__init__()
        narrow = max(1, width // reduction)
        for place in ('attention', 'mlp'):
            bound = 1 / math.sqrt(width)
            down = torch.empty(n_pool, n_layer, narrow, width).uniform_(-bound, bound)
            setattr(self, f'{place}_down_weight', nn.Parameter(down))
            setattr(self, f'{place}_down_bias', nn.Parameter(torch.zeros(n_pool, n_layer, narrow)))
            setattr(self, f'{place}_up_weight', nn.Parameter(torch.zeros(n_pool, n_layer, width, narrow)))
            setattr(self, f'{place}_up_bias', nn.Parameter(torch.zeros(n_pool, n_layer, width)))

    def _add(self, place, layer, y, ids):
        names = ('down_weight', 'down_bias', 'up_weight', 'up_bias')
        down, low, up, high = (gather(getattr(self, f'{place}_{name}')[:, layer], ids) for name in names)
        narrow = F.silu(y @ down.mT + low[:, None])
        return y + _is_on(ids, y) * (narrow @ up.mT + high[:, None])

    def attention_output(self, layer, y, ids):
        return self._add('attention', layer, y, ids)

    def mlp_output(self, layer, y, ids):
        return self._add('mlp', layer, y, ids)


MODULATORS = {'lora': LoRA, 'ia3': IA3, 'prompt': Prompts, 'prefix': Prefix, 'adapter': Adapters}
