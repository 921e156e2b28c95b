"""Settings of a search, in one frozen record that is checked when it is made."""

from dataclasses import dataclass, fields

from trajectory.search.sampling import check_k, check_temperature
from trajectory.utils.errors import InputError, check_fraction, check_positive

MAX_HORIZON = 10_000  # longer than any episode here
OBJECTIVES = ('value', 'likelihood')


@dataclass(frozen=True)
class SearchSettings:
    """What the planner is told; each field is the setting of its name in `config/offline.py`.

    objective                : what candidates are ranked by: rewards and values, or how likely they are
    horizon                  : transitions imagined per plan
    beam_width, n_expand     : candidates kept after each transition, and continuations drawn for each
    max_context_transitions  : transitions the model sees at once, at most its block; None: all that fit
    prefix_context           : whether a plan begins with what has happened, or with the observation alone
    plan_freq                : actions taken along a plan before the next is made
    discount                 : factor per step on the rewards that candidates are ranked by
    percentile               : what stands for a distribution of values: 'mean', or a quantile
    temperature, k_*, cdf_*  : of the distributions that tokens are drawn from
    action_noise             : how far drawn actions stay from the mean of their distribution: 1 where they are, 0 at
                               the mean; None leaves them as they are drawn
    """

    horizon: int = 15
    beam_width: int = 128
    n_expand: int = 2
    max_context_transitions: int | None = None
    prefix_context: bool = True
    plan_freq: int = 1
    discount: float = 0.99
    percentile: float | str = 'mean'
    temperature: float = 1.0
    action_noise: float | None = None
    k_obs: int | None = None
    k_act: int | None = None
    k_rew: int | None = 1
    cdf_obs: float | None = None
    cdf_act: float | None = None
    cdf_rew: float | None = None
    objective: str = 'value'

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise InputError(f'objective must be one of {", ".join(OBJECTIVES)}, got {self.objective!r}.')
        check_temperature(self.temperature)
        for name in ('plan_freq', 'horizon', 'beam_width', 'n_expand'):
            check_positive(name, getattr(self, name))
        if self.horizon > MAX_HORIZON:
            raise InputError(f'horizon must be at most {MAX_HORIZON}, got {self.horizon}.\n  Pass --horizon 15, say.')
        for name in ('discount', 'percentile', 'action_noise', 'cdf_obs', 'cdf_act', 'cdf_rew'):
            if getattr(self, name) not in (None, 'mean'):
                check_fraction(name, getattr(self, name))
        if self.plan_freq > self.horizon:
            raise InputError(
                f'a plan of {self.horizon} transitions cannot be followed for {self.plan_freq} '
                f'steps.\n  Pass --plan_freq {self.horizon}, or less.'
            )
        if self.max_context_transitions is not None and self.max_context_transitions < 1:
            raise InputError(
                f'max_context_transitions must be at least 1, got {self.max_context_transitions}.\n'
                '  Pass --max_context_transitions 2, or more.'
            )

    @classmethod
    def from_args(cls, args, discount: float | None = None) -> 'SearchSettings':
        """The settings among parsed flags.    discount : the model's own, where the flags leave it to that"""
        settings = {field.name: getattr(args, field.name) for field in fields(cls)}
        if settings['discount'] is None:
            settings['discount'] = discount
        return cls(**settings)

    def fit(self, model) -> int:
        """Tokens that the model may see, at most its block; InputError where a model cannot be searched so."""
        for name in ('k_obs', 'k_act', 'k_rew'):
            check_k(model, name, getattr(self, name))
        block_size = model.get_block_size()
        wanted = self.max_context_transitions
        limit = block_size if wanted is None else min(wanted * model.transition_dim - 1, block_size)
        if limit < model.transition_dim - 1 or (self.horizon > 1 and limit < model.transition_dim):
            raise InputError(
                f'a context of {limit} tokens does not hold the transition of {model.transition_dim} that was just '
                'imagined.\n  Pass --max_context_transitions 2, or more.'
            )
        return limit

    @property
    def sampling(self) -> dict[str, dict]:
        """How tokens are drawn, by the kind of column."""
        return {
            'obs': {'topk': self.k_obs, 'cdf': self.cdf_obs},
            'act': {'topk': self.k_act, 'cdf': self.cdf_act, 'temperature': self.temperature},
            'rew': {'topk': self.k_rew, 'cdf': self.cdf_rew},
        }
