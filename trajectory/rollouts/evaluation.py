"""See what a model is worth while it trains: plan a few episodes with it, and score them."""
import numpy as np
import torch

from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.environments.offline import make_environment
from trajectory.rollouts.episode import Episode
from trajectory.search.core import beam_plan, check_plan, goal_plan
from trajectory.search.sampling import check_temperature
from trajectory.search.utils import extract_actions
from trajectory.utils.errors import InputError, check_fraction, check_positive


def check_settings(settings, model=None) -> None:
    """Refuse settings with which nobody can plan, or not with this model, before any work."""
    check_temperature(settings.temperature)
    for name in ('plan_freq', 'horizon', 'beam_width', 'n_expand'):
        check_positive(name, getattr(settings, name))
    for name in ('discount', 'percentile', 'cdf_obs', 'cdf_act', 'cdf_rew'):
        if getattr(settings, name) not in (None, 'mean'):
            check_fraction(name, getattr(settings, name))
    if settings.plan_freq > settings.horizon:
        raise InputError(f'a plan of {settings.horizon} transitions cannot be followed for {settings.plan_freq} '
                         f'steps.\n  Pass --plan_freq {settings.horizon}, or less.')
    if model is not None:
        check_plan(model, model.layout, [], settings.horizon, settings.beam_width, settings.n_expand,
                   _context(model, settings), settings.k_obs, settings.k_act, settings.k_rew)


@torch.no_grad()
def plan_episodes(model, discretizer, source: tuple, n_episodes: int, settings, *,
                  max_steps: int | None = None, seed: int = 0, hold: int = 1, stop=False) -> dict[str, float]:
    """Act for some episodes together, with plans of a model; it draws from generators of its own.

    source   : what `make_environment` takes: the environment's id, its physics, the data set's name, …
    settings : of planning: horizon, beam_width, n_expand, discount, percentile, max_context_transitions,
               prefix_context, plan_freq, k_*, cdf_*
    hold     : steps that each action is held for
    stop     : true once there is no time left; the episodes then end where they are
    returns  : mean return, and mean score where the data set has one: a fraction, 1 as good as D4RL's expert
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    context = _context(model, settings)
    episodes = [
        Episode(make_environment(*source), seed + k, discretizer, get_preprocess_fn(source[0]), device, context,
                settings.prefix_context, max_steps, hold=hold)
        for k in range(n_episodes)
    ]
    while not stop and (live := [episode for episode in episodes if not episode.over]):
        if live[0].step // hold % settings.plan_freq == 0:
            prefixes = [episode.prefix() for episode in live]
            if model.n_goal:
                goals = torch.stack([episode.goal() for episode in live])
                sequences = goal_plan(model, prefixes, settings.horizon, settings.beam_width, goals, context)
            else:
                sequences = beam_plan(
                    model, lambda probs: discretizer.value_fn(probs, settings.percentile), prefixes,
                    settings.horizon, settings.beam_width, settings.n_expand, model.observation_dim, model.action_dim,
                    discount=settings.discount, max_context_transitions=context, k_obs=settings.k_obs,
                    k_act=settings.k_act, k_rew=settings.k_rew, cdf_obs=settings.cdf_obs, cdf_act=settings.cdf_act,
                    cdf_rew=settings.cdf_rew, temperature=settings.temperature, verbose=False,
                    generator=[episode.generator for episode in live],
                )
            for episode, sequence in zip(live, sequences, strict=True):
                episode.take(sequence)
        for episode in live:
            episode.act(extract_actions(episode.plan, model.observation_dim, model.action_dim, t=0))
    model.train(was_training)
    numbers = {'return': float(np.mean([episode.total_reward for episode in episodes]))}
    scores = [episode.summary()['score'] for episode in episodes]
    return numbers if None in scores else {**numbers, 'score': float(np.mean(scores))}


def _context(model, settings):
    """Transitions that the model sees: those asked for, or fewer, if its window is shorter."""
    window = model.block_size // model.transition_dim + 1
    return min(settings.max_context_transitions or window, window)
