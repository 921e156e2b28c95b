"""The modulation pool of L2M (Schmied et al. 2023): each sequence chooses a modulator by the key nearest to its states.

P keys    B sequences    d width
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trajectory.models.modulators import Modulator

COUNT_EPS = 1e-6
METRICS = ('cosine', 'euclidean', 'manhattan')


class Choice:
    """ids [ B x k ] of the keys that sequences chose, by similarity [ B x P ]; pull, a mean to be raised."""

    def __init__(self, ids: Tensor, similarity: Tensor, pull: Tensor):
        self.ids, self.similarity, self.pull = ids, similarity, pull


class ModulationPool(nn.Module):
    """Keys, each with a modulator of its own.

    counted : keys chosen much in earlier tasks are chosen less in the training of a later one. The share of sequences
              that chose each is counted as a running mean over all batches, c; at a switch w = (1 / (c + 1e-6)) / Σ,
              and from then on a key is chosen by (cos + 1) / 2 · w, or -distance · (1 - w). Evaluation neither counts
              nor weighs
    n_tasks : of the oracle, which is told the task: task t has the keys from t · P / n_tasks on, in evaluation too; 0
              is no oracle
    """

    def __init__(
        self, modulator: Modulator, width: int, n_keys: int = 30, metric: str = 'cosine', counted: bool = True,
        top_k: int = 1, n_tasks: int = 0, n_pretrain_keys: int = 0,
    ):  # fmt: skip
        super().__init__()
        self.modulator, self.metric, self.counted, self.top_k, self.n_tasks = modulator, metric, counted, top_k, n_tasks
        self.keys = nn.Parameter(torch.empty(n_keys, width).uniform_(-1, 1))
        self.pretrain_keys = nn.Parameter(torch.empty(n_pretrain_keys, width).uniform_(-1, 1))
        self.register_buffer('counts', torch.zeros(n_keys))
        self.register_buffer('weights', torch.ones(n_keys))
        self.register_buffer('n_batches', torch.zeros((), dtype=torch.float64))
        self.register_buffer('task', torch.zeros((), dtype=torch.long))

    def similarity(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Of each query to each key, the greater the nearer, [ B x P ]."""
        if self.metric == 'cosine':
            return F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).mT
        return -torch.cdist(queries, keys, p=2 if self.metric == 'euclidean' else 1)

    def switch_task(self) -> None:
        """A new task begins: weigh the keys by how much they were chosen so far."""
        self.task += 1
        inverse = 1 / (self.counts + COUNT_EPS)
        self.weights.copy_(inverse / inverse.sum())

    def choose(self, queries: Tensor, task: int | None = None) -> Choice:
        """Choose keys; in training mode, count them.

        queries : [ B x d ]
        task    : that is acted in, for the oracle; the present one, if none is given
        """
        similarity = self.similarity(queries, self.keys)
        chosen_by = similarity
        if self.training and self.counted and self.task > 0:
            chosen_by = self._weigh(similarity)
        if self.n_tasks:
            chosen_by = self._mask(chosen_by, int(self.task) if task is None else task)
        ids = chosen_by.topk(self.top_k, dim=1).indices
        if self.training:
            self.n_batches += 1
            share = torch.bincount(ids.flatten(), minlength=len(self.keys)) / ids.numel()
            self.counts += (share - self.counts) / self.n_batches.to(self.counts)
        pull = similarity.gather(1, ids).sum(1).mean()
        if self.metric == 'manhattan':
            pull = pull / queries.shape[1]
        return Choice(ids, chosen_by, pull)

    def _weigh(self, similarity):
        if self.metric == 'cosine':
            return (similarity + 1) / 2 * self.weights
        return similarity * (1 - self.weights)

    def _mask(self, similarity, task):
        n = len(self.keys) // self.n_tasks
        is_own = torch.zeros(len(self.keys), dtype=torch.bool, device=similarity.device)
        is_own[task * n : (task + 1) * n] = True
        return similarity.masked_fill(~is_own, -torch.inf)

    def evaluate(self, queries: Tensor, task: int | None = None) -> Tensor:
        """The modulator of each sequence, -1 for none: where a key of pre-training is nearer than all others, [ B ]."""
        ids = self.choose(queries, task).ids[:, 0]
        if len(self.pretrain_keys):
            own = self.similarity(queries, self.keys).gather(1, ids[:, None])[:, 0]
            others = self.similarity(queries, self.pretrain_keys).amax(1)
            ids = torch.where(others > own, -1, ids)
        return ids

    @torch.no_grad()
    def spread_pretrain_keys(self, queries: Tensor) -> None:
        """Begin the keys of pre-training at queries of its data, each the farthest from those before it.

        queries : [ B x d ]
        """
        nearest, row = torch.full((len(queries),), -torch.inf, device=queries.device), 0
        for key in self.pretrain_keys:
            key.copy_(queries[row])
            nearest = torch.maximum(nearest, self.similarity(queries, key[None])[:, 0])
            row = int(nearest.argmin())

    def pull_pretrain_keys(self, queries: Tensor) -> Tensor:
        """Mean similarity of queries of pre-training data to their nearest key, to be raised.    queries : [ B x d ]"""
        return self.similarity(queries, self.pretrain_keys).amax(1).mean()
