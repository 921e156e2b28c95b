"""The planning agent: it acts by beam search over the trajectories that a model imagines."""

from dataclasses import replace

import numpy as np
import torch

from trajectory.rollouts.agent import Agent
from trajectory.search import likeliest_plan, make_prefix, search, update_context
from trajectory.search.core import useful_threads
from trajectory.search.graphs import Graphs
from trajectory.search.settings import SearchSettings
from trajectory.search.traces import Searches
from trajectory.utils.errors import InputError


class PlanningAgent(Agent):
    """Plans every `plan_freq` actions, all episodes in one batch; each draws as it would alone.

    model, discretizer : of one run
    preprocess_fn      : of observations, as for the data the model learned from
    settings           : of the search
    action_repeat      : environment steps of an action: as many as lie between the transitions the model learned from
    n_threads          : CPU threads at most, that share out the episodes or their candidates
    value_fn           : ranks candidates, see `search`; by default the discretizer's reading of the value tokens

    trace_freq         : environment steps between two searches that are kept in `searches`; None keeps none

    plans : [ H x D ] each, the remaining transitions of each episode's plan as numbers
    """

    def __init__(
        self,
        model,
        discretizer,
        preprocess_fn,
        settings: SearchSettings,
        *,
        action_repeat: int = 1,
        n_threads: int = 1,
        value_fn=None,
        trace_freq: int | None = None,
    ):
        settings.fit(model)
        self.model = model
        self.discretizer = discretizer
        self.preprocess_fn = preprocess_fn
        self.settings = settings
        self.action_repeat = action_repeat
        self.n_threads = n_threads if model.pos_emb.device.type == 'cpu' else 1
        self.value_fn = value_fn or (lambda probs: discretizer.value_fn(probs, settings.percentile))
        self.graphs = Graphs()
        self.trace_freq = trace_freq

    def reset(self, observations, seeds, goals=None):
        self.model.eval()
        device = self.model.pos_emb.device
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self.contexts = [[] for _ in seeds]
        self.plans = [None for _ in seeds]
        self.stop_tokens = [0 for _ in seeds]
        self.over = np.zeros(len(seeds), dtype=bool)
        self.observations = [self.preprocess_fn(observation) for observation in observations]
        if (width := len(self.observations[0])) != self.model.observation_dim:
            raise InputError(
                f'the environment makes observations of {width} columns, the model learned from '
                f'{self.model.observation_dim}.\n  Is source.json beside it that of another run?'
            )
        self.traces = [[] for _ in seeds]  # steps, and searches of tokens
        self._seen = [[observation] for observation in self.observations]
        self._rewards = [[] for _ in seeds]
        self._n_lasting = [0 for _ in seeds]  # transitions of a plan before one says that the episode is over
        self._n_actions = 0
        self._goals = self._read_goals(goals) if self.model.n_goal else None

    def act(self, observations):
        if self._n_actions % self.settings.plan_freq == 0:
            self._plan([k for k, over in enumerate(self.over) if not over])
        layout = self.model.layout
        actions = np.zeros((len(observations), layout.action_dim))
        for k in np.flatnonzero(~self.over):
            actions[k] = self.plans[k][0, layout.action]
        return actions

    def observe(self, actions, rewards, observations, over):
        for k in np.flatnonzero(~self.over):
            self.contexts[k] = update_context(
                self.contexts[k],
                self.discretizer,
                self.observations[k],
                actions[k],
                rewards[k],
                self.settings.max_context_transitions,
            )
            self.observations[k] = self.preprocess_fn(observations[k])
            if self.trace_freq:
                self._seen[k].append(self.observations[k])
                self._rewards[k].append(rewards[k])
            self.plans[k], self._n_lasting[k] = self.plans[k][1:], self._n_lasting[k] - 1
        self.over = np.array(over)
        self._n_actions += 1

    def summary(self, episode):
        return {'stop_tokens': self.stop_tokens[episode]}

    def imagined(self, episode: int) -> np.ndarray:
        """[ T x D ]  what the rest of an episode's plan imagines, up to where it says that the episode is over."""
        return self.plans[episode][: max(1, self._n_lasting[episode])]

    def searches(self, episode: int) -> Searches | None:
        """The searches of an episode that were kept, as numbers, and what happened in it; None where there are none."""
        if not self.traces[episode]:
            return None
        steps, traces = zip(*self.traces[episode], strict=True)

        def as_numbers(trace):
            tokens = trace.transitions
            numbers = self.discretizer.reconstruct(tokens.reshape(-1, tokens.shape[-1]))
            return replace(trace, transitions=numbers.reshape(tokens.shape))

        return Searches(
            np.array(steps),
            tuple(as_numbers(trace) for trace in traces),
            np.array(self._seen[episode]),
            np.array(self._rewards[episode]),
            self.action_repeat,
        )

    @torch.no_grad()
    def _plan(self, live):
        prefixes = [
            make_prefix(self.discretizer, self.contexts[k], self.observations[k], self.settings.prefix_context)[0]
            for k in live
        ]
        if self._n_actions == 0:
            self._check_logits(prefixes[0])
        if self._goals is not None or self.settings.objective == 'likelihood':
            plans = likeliest_plan(
                self.model,
                prefixes,
                self.settings.horizon,
                self.settings.beam_width,
                None if self._goals is None else self._goals[live],
                self.settings.max_context_transitions,
                n_threads=self.n_threads,
            )
        else:
            n_steps = self._n_actions * self.action_repeat
            is_due = self.trace_freq and n_steps % self.trace_freq < self.action_repeat * self.settings.plan_freq
            traces = [] if is_due else None
            plans = search(
                self.model,
                self.value_fn,
                prefixes,
                self.settings,
                n_threads=useful_threads(self.model, len(live), self.settings, self.n_threads),
                generator=[self.generators[k] for k in live],
                graphs=self.graphs,
                discretizer=self.discretizer,
                traces=traces,
            )
            for k, trace in zip(live, traces or (), strict=False):
                self.traces[k].append((n_steps, trace))
        for k, tokens in zip(live, plans, strict=True):
            stops = tokens == self.discretizer.N
            self.stop_tokens[k] += int(stops.sum())
            self.plans[k] = self.discretizer.reconstruct(tokens)
            self._n_lasting[k] = int((stops.any(dim=1).cumsum(dim=0) == 0).sum())

    def _check_logits(self, prefix):
        goal = [] if self._goals is None else [self._goals[:1].to(self.model.pos_emb.device)]
        logits = self.model(prefix[None].to(self.model.pos_emb.device)[:, -self.settings.fit(self.model) :], *goal)[0]
        if not torch.isfinite(logits).all():
            raise InputError(
                'the logits of the model are not finite: its weights are numbers, but too large ones.\n'
                '  Take an earlier epoch, or train again with a smaller --learning_rate.'
            )

    def _read_goals(self, goals):
        """[ E x observation_dim ]  tokens of being at the goals, at rest."""
        if goals is None:
            raise InputError(
                'the model was trained with goals, and this environment has none.\n'
                '  Take a model that was trained without --goal_conditioned.'
            )
        goals = np.stack([self.preprocess_fn(goal) for goal in goals])
        return torch.as_tensor(self.discretizer.discretize(goals, subslice=(0, goals.shape[1])))
