"""Embed tokens so that neighbouring bins start out alike."""

import torch
from torch import Tensor, nn


def make_weights(N: int, weights) -> Tensor:
    """Spread each token over its neighbours; what falls past either end stays on the end.

    weights : an odd number of shares that sum to 1, the middle one for the token itself
    returns : [ N x N ]  row i says how token i is mixed
    """
    shares = torch.as_tensor(weights, dtype=torch.float64)
    if len(shares) % 2 == 0 or not torch.isclose(shares.sum(), torch.ones((), dtype=shares.dtype)):
        raise ValueError(f'expected an odd number of weights that sum to 1, got {list(weights)}')
    reach = len(shares) // 2
    rows = torch.arange(N)[:, None]
    columns = (rows + torch.arange(-reach, reach + 1)).clamp(0, N - 1)  # [ N x len(weights) ]
    mixed = torch.zeros(N, N, dtype=shares.dtype)
    return mixed.scatter_add_(1, columns, shares.expand(N, -1))


def add_stop_token(tokens: Tensor) -> Tensor:
    """Add a token that mixes with nothing.    tokens : [ N x N ]    returns : [ N+1 x N+1 ]"""
    return torch.block_diag(tokens, torch.ones(1, 1, dtype=tokens.dtype))


class SmoothEmbedding(nn.Module):
    """An embedding table read through `make_weights`: a token's vector is a mixture of its neighbours'.

    x       : [ B x T ]  tokens
    returns : [ B x T x embedding_dim ]
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, weights, stop_token: bool = False):
        super().__init__()
        mixture = make_weights(num_embeddings, weights)
        if stop_token:
            mixture = add_stop_token(mixture)
        self.register_buffer('weights', mixture.to(torch.get_default_dtype()))
        self.embeddings = nn.Embedding(len(mixture), embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.weights[x] @ self.embeddings.weight
