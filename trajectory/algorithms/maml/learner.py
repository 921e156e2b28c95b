"""The meta-learner: adaptation by policy gradients, and TRPO's step of the parameters that adaptation starts from.

With the inner losses L_i = -mean(log π A) on the train episodes of task i and θ'_i = θ - α ∇L_i(θ):

    J(θ)  = -mean_i mean(exp(log π_θ'_i - log π_old) A)  on the valid episodes    (surrogate loss)
    KL(θ) =  mean_i mean KL(π_θ'_i || π_old)

At the old θ the gradient of each task's divergence is 0. So with its inner Hessian H_i and the divergence's F_i at θ'_i

    ∇J     = mean_i (I - α H_i) ∇J_i(θ'_i)
    ∇²KL v = mean_i (I - α H_i) F_i (I - α H_i) v

exactly, where differentiating through the adaptation would take third derivatives. First order takes I for I - α H_i.
With several inner steps there is a factor for each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from trajectory.algorithms.maml.baseline import LinearFeatureBaseline, masked_mean, normalize
from trajectory.algorithms.maml.curvature import PolicyDerivatives
from trajectory.algorithms.maml.trpo import Search, StepSize, conjugate_gradient, line_search, step_size
from trajectory.models.policies import Params, Policy, flatten, unflatten
from trajectory.rollouts.batch_episodes import BatchEpisodes

TaskParams = dict[str, Tensor]  # [ M x ... ] by name


@dataclass(frozen=True)
class Rated:
    """Episodes of M tasks with their normalized advantages, [ M x T x B ]."""

    episodes: BatchEpisodes
    advantages: Tensor

    def tasks(self, part: Tensor) -> 'Rated':
        """Some of the tasks, without the steps that none of them took.    part : [ m ] their indices, in a row"""
        rows = slice(int(part[0]), int(part[-1]) + 1)
        n_steps = int(self.episodes.lengths[rows].max())
        return Rated(self.episodes.cut(rows, n_steps), self.advantages[rows, :n_steps])


@dataclass(frozen=True)
class MetaStep:
    """What a meta-update did.

    gradient : [ P ]  of the surrogate loss
    step     : [ P ]  before the line search; None where the gradient was 0 and none was made
    """

    gradient: Tensor
    step: Tensor | None = None
    size: StepSize | None = None
    search: Search | None = None

    @property
    def accepted(self) -> bool:
        return self.search is not None and self.search.accepted is not None


class MetaLearner:
    """MAML for a policy, with TRPO outside.

    policy      : whose parameters are learned
    gamma, tau  : discount, and GAE's lambda
    fast_lr     : α, of each inner step
    first_order : hold the inner gradients constant
    reduce      : sums a list of tensors over the processes that share the tasks, in place
    share       : of the tasks that this process has, as a fraction
    """

    def __init__(
        self,
        policy: Policy,
        gamma: float = 0.95,
        tau: float = 1.0,
        fast_lr: float = 0.1,
        first_order: bool = False,
        reduce: Callable[[list[Tensor]], None] | None = None,
        share: float = 1.0,
    ):
        self.policy, self.gamma, self.tau = policy, gamma, tau
        self.fast_lr, self.first_order = fast_lr, first_order
        self.reduce, self.share = reduce or (lambda _: None), share

    # ------------------------------ adaptation ---------------------------- #

    def rate(self, episodes: BatchEpisodes, baseline: LinearFeatureBaseline | None = None) -> Rated:
        """Advantages of episodes, by a baseline that is fitted to them unless one is given."""
        if baseline is None:
            baseline = self.fit_baseline(episodes)
        advantages = normalize(baseline.advantages(episodes, self.gamma, self.tau), episodes.mask.double())
        like = next(self.policy.parameters())
        return Rated(episodes.to(like.device, like.dtype), advantages.to(like))

    def fit_baseline(self, episodes: BatchEpisodes) -> LinearFeatureBaseline:
        """A baseline of each task, fitted to its episodes."""
        baseline = LinearFeatureBaseline(episodes.observations.shape[-1])
        baseline.fit(episodes, self.gamma)
        return baseline

    def inner_loss(self, rated: Rated, params: TaskParams) -> Tensor:
        """L of each task, [ M ].    params : [ M x ... ] by name"""
        log_probs = self.policy.forward_tasks(rated.episodes.observations, params).log_prob(rated.episodes.actions)
        return -masked_mean(log_probs * rated.advantages, rated.episodes.mask)

    def expand(self, params: Params, n_tasks: int) -> TaskParams:
        """The same parameters for each task, [ M x ... ] by name."""
        return {name: value.detach().expand(n_tasks, *value.shape) for name, value in params.items()}

    def derivatives(self, rated: Rated, params: TaskParams) -> PolicyDerivatives:
        """Derivatives of each task's loss.    params : [ M x ... ] by name"""
        parts = (rated.episodes.observations, rated.episodes.actions, rated.advantages, rated.episodes.mask)
        return PolicyDerivatives(self.policy, params, *(part.flatten(1, 2) for part in parts))

    def descend(self, params: TaskParams, gradients: TaskParams, step_size: float | None = None) -> TaskParams:
        """params - α · gradients."""
        rate = self.fast_lr if step_size is None else step_size
        return {name: torch.sub(value, gradients[name], alpha=rate) for name, value in params.items()}

    def adapt(self, rated: Rated, params: TaskParams, step_size: float | None = None) -> TaskParams:
        """θ'_i of each task after one step; no gradient flows through it.    params : [ M x ... ] by name"""
        return self.descend(params, self.derivatives(rated, params).gradient, step_size)

    # ----------------------------- meta-objective -------------------------- #

    def surrogate_loss(self, params: TaskParams, valid: Rated, old_log_probs: Tensor) -> Tensor:
        """J of each task, [ M ].    params : adapted, [ M x ... ] by name    old_log_probs : [ M x T x B ]"""
        log_probs = self.policy.forward_tasks(valid.episodes.observations, params).log_prob(valid.episodes.actions)
        return -masked_mean(torch.exp(log_probs - old_log_probs) * valid.advantages, valid.episodes.mask)

    def kl_divergence(self, params: TaskParams, valid: Rated, old) -> Tensor:
        """KL of the new policy from the old, of each task, [ M ].    old : the old distributions"""
        new = self.policy.forward_tasks(valid.episodes.observations, params)
        return masked_mean(kl_divergence(new, old), valid.episodes.mask)

    def step(
        self,
        train: list[Rated],
        valid: Rated,
        max_kl: float = 0.01,
        cg_iters: int = 10,
        cg_damping: float = 1e-5,
        ls_max_steps: int = 15,
        ls_backtrack_ratio: float = 0.8,
    ) -> MetaStep:
        """Move the policy's parameters by one step of TRPO.

        train : episodes of each inner step, made with the parameters before it
        valid : episodes made with the adapted parameters
        """
        objective = MetaObjective(self, train, valid)
        gradient = objective.gradient()
        if not gradient.any():
            return MetaStep(gradient)
        direction, image = conjugate_gradient(objective.damped(cg_damping), gradient, cg_iters)
        size = step_size(direction, image, max_kl)
        step = direction / size.lagrange_multiplier
        parameters, search = line_search(
            objective.evaluate, flatten(self.policy.params).detach(), step, objective.old_loss, max_kl, ls_max_steps,
            ls_backtrack_ratio,
        )  # fmt: skip
        if search.accepted is not None:
            torch.nn.utils.vector_to_parameters(parameters, self.policy.parameters())
        return MetaStep(gradient, step, size, search)


class MetaObjective:
    """J and KL around the policy's present parameters, with what is kept for their derivatives.

    On a CPU each task is a chunk of its own, whose arrays stay in the cache; a GPU has all tasks in one.
    """

    def __init__(self, learner: MetaLearner, train: list[Rated], valid: Rated):
        self.learner = learner
        self.like = {name: value.detach() for name, value in learner.policy.params.items()}
        self.n_tasks, device = valid.advantages.shape[0], valid.advantages.device
        parts = torch.arange(self.n_tasks).split(1 if device.type == 'cpu' else self.n_tasks)
        self.chunks = [
            _Chunk(learner, self.like, [rated.tasks(part) for rated in train], valid.tasks(part)) for part in parts
        ]
        self.old_loss, self.old_kl = self._mean_of([chunk.evaluate_adapted(chunk.adapted) for chunk in self.chunks])

    def gradient(self) -> Tensor:
        """∇J at the present parameters, [ P ], in 64 bits."""
        return self._mean([chunk.gradient() for chunk in self.chunks])

    def hessian_vector_product(self, vector: Tensor) -> Tensor:
        """∇²KL v at the present parameters, [ P ], in 64 bits.    vector : [ P ]"""
        scale = vector.norm()  # so that 32 bits hold it at any length
        if not scale > 0:
            return torch.zeros_like(vector, dtype=torch.float64)
        unit = unflatten((vector / scale).to(flatten(self.like).dtype), self.like)
        return scale.double() * self._mean([chunk.product(unit) for chunk in self.chunks])

    def damped(self, damping: float) -> Callable[[Tensor], Tensor]:
        """v -> ∇²KL v + damping · v."""
        return lambda vector: self.hessian_vector_product(vector) + damping * vector

    def evaluate(self, parameters: Tensor) -> tuple[float, float]:
        """J and KL at other parameters, [ P ]."""
        params = unflatten(parameters, self.like)
        return self._mean_of([chunk.evaluate(params) for chunk in self.chunks])

    def _mean_of(self, pairs):
        both = torch.cat(pairs, dim=1).mean(1) * self.learner.share
        self.learner.reduce([both])
        loss, divergence = both.tolist()
        return loss, divergence

    def _mean(self, vectors: list[Tensor]) -> Tensor:
        total = torch.stack(vectors).sum(0) / self.n_tasks * self.learner.share
        self.learner.reduce([total])
        return total


class _Chunk:
    """A few of the tasks."""

    def __init__(self, learner: MetaLearner, params: Params, train: list[Rated], valid: Rated):
        self.learner, self.train, self.valid = learner, train, valid
        self.n_tasks = valid.advantages.shape[0]
        adapted, self.inner = learner.expand(params, self.n_tasks), []
        for rated in train:
            self.inner.append(learner.derivatives(rated, adapted))
            adapted = learner.descend(adapted, self.inner[-1].gradient)
        self.adapted, self.outer = adapted, learner.derivatives(valid, adapted)
        self.old = learner.policy.forward_tasks(valid.episodes.observations, adapted)
        self.old_log_probs = self.old.log_prob(valid.episodes.actions)

    def gradient(self) -> Tensor:
        """Sum of the gradients, [ P ]; at the old policy that of J is of the form of the inner loss's."""
        return self._sum(self._through_adaptation(self.outer.gradient, transposed=True))

    def product(self, unit: Params) -> Tensor:
        """Sum of the products with one vector, [ P ]."""
        images = self.outer.fisher_product(self._through_adaptation(self.learner.expand(unit, self.n_tasks)))
        return self._sum(self._through_adaptation(images, transposed=True))

    def evaluate(self, params: Params) -> Tensor:
        """J and KL of each task, [ 2 x M ], of parameters before adaptation."""
        adapted = self.learner.expand(params, self.n_tasks)
        for rated in self.train:
            adapted = self.learner.adapt(rated, adapted)
        return self.evaluate_adapted(adapted)

    @torch.no_grad()
    def evaluate_adapted(self, params: TaskParams) -> Tensor:
        """J and KL of each task, [ 2 x M ], of adapted parameters."""
        losses = self.learner.surrogate_loss(params, self.valid, self.old_log_probs)
        return torch.stack([losses, self.learner.kl_divergence(params, self.valid, self.old)]).double()

    def _through_adaptation(self, vectors: TaskParams, transposed: bool = False) -> TaskParams:
        """dθ'/dθ v of each task, or its transpose's product; the factors I - α H are symmetric."""
        if not self.learner.first_order:
            for inner in reversed(self.inner) if transposed else self.inner:
                vectors = self.learner.descend(vectors, inner.hessian_product(vectors))
        return vectors

    def _sum(self, vectors: TaskParams) -> Tensor:
        return torch.cat([vectors[name].double().sum(0).flatten() for name in self.learner.policy.params])
