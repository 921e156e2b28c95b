"""Let a multi-domain policy act in the tasks of a suite: success at any step and at the last, and return."""

from dataclasses import dataclass

import numpy as np

from trajectory.algorithms.multi_domain.agent import MultiDomainAgent
from trajectory.algorithms.multi_domain.metrics import normalized
from trajectory.environments.suites.making import make_suite_env
from trajectory.environments.suites.registry import SuiteTask
from trajectory.utils.progress import Silent

SIDE_BY_SIDE = 10  # episodes of a task


@dataclass(frozen=True)
class SuiteEpisode:
    """One episode.    score : success at the last step, or the return between that of random actions and of the data"""

    task: str
    seed: int
    steps: int
    total: float
    success: bool  # at the last step
    any_success: bool
    score: float


class SuiteEvaluator:
    """Acts in several tasks side by side, in environments that are made once.

    tasks    : to act in
    targets  : return to ask for in each, scaled; scales : of its rewards
    numbers  : of each task in a sequence, for a pool that is told them; None where it is of none
    """

    def __init__(self, tasks: list[SuiteTask], targets: list[float], scales: list[float], numbers=None):
        self.tasks, self.targets, self.scales, self.numbers = tasks, targets, scales, numbers
        self.envs = {}

    def evaluate(self, policy, n_episodes: int, seed: int = 0, progress=None) -> list[SuiteEpisode]:
        """Episodes of every task; the k-th of each has the seed `seed + k`."""
        episodes, progress = [], progress or Silent()
        for first in range(0, n_episodes, SIDE_BY_SIDE):
            n = min(SIDE_BY_SIDE, n_episodes - first)
            episodes += self._run(policy, [(t, first + k) for t in range(len(self.tasks)) for k in range(n)], seed)
            progress.update(n=n)
        return sorted(
            episodes, key=lambda episode: ([task.name for task in self.tasks].index(episode.task), episode.seed)
        )

    def _run(self, policy, rows, seed):
        envs = [self._env(t, k % SIDE_BY_SIDE) for t, k in rows]
        tasks = [self.tasks[t] for t, _ in rows]
        numbers = None if self.numbers is None else [self.numbers[t] for t, _ in rows]
        agent = MultiDomainAgent(
            policy, tasks, [self.targets[t] for t, _ in rows], [self.scales[t] for t, _ in rows], numbers
        )
        seen = np.zeros((len(rows), max(task.observation_dim for task in tasks)), dtype=np.float32)
        for k, (env, (_, number)) in enumerate(zip(envs, rows, strict=True)):
            seen[k, : tasks[k].observation_dim], _ = env.reset(seed=seed + number)
        totals, steps = np.zeros(len(rows)), np.zeros(len(rows), dtype=int)
        over, success, ever = (np.zeros(len(rows), dtype=bool) for _ in range(3))
        agent.reset(seen, [seed + number for _, number in rows])
        while not over.all():
            actions, rewards = agent.act(seen), np.zeros(len(rows))
            for k in np.flatnonzero(~over):
                width = tasks[k].action_dim
                seen[k, : tasks[k].observation_dim], rewards[k], terminated, truncated, info = envs[k].step(
                    actions[k, :width]
                )
                success[k] = info.get('success', False)
                ever[k] |= success[k]
                steps[k] += 1
                over[k] = terminated or truncated
            totals += rewards
            agent.observe(actions, rewards, seen, over)
        return [
            SuiteEpisode(
                task.name, seed + number, int(n), float(total), bool(last), bool(once), score_of(task, total, last)
            )
            for task, (_, number), n, total, last, once in zip(tasks, rows, steps, totals, success, ever, strict=True)
        ]

    def film(self, policy, task: int, seed: int) -> np.ndarray:
        """Frames of one episode, [ T x height x width x 3 ].    task : its number"""
        env = make_suite_env(self.tasks[task], render_mode='rgb_array')
        number = None if self.numbers is None else [self.numbers[task]]
        agent = MultiDomainAgent(policy, [self.tasks[task]], [self.targets[task]], [self.scales[task]], number)
        seen, _ = env.reset(seed=seed)
        agent.reset(seen[None], [seed])
        frames, over = [env.render()], False
        while not over:
            actions = agent.act(seen[None])
            seen, reward, terminated, truncated, _ = env.step(actions[0, : self.tasks[task].action_dim])
            over = terminated or truncated
            agent.observe(actions, np.array([reward]), seen[None], np.array([over]))
            frames.append(env.render())
        env.close()
        return np.array(frames)

    def _env(self, task, place):
        if (task, place) not in self.envs:
            self.envs[task, place] = make_suite_env(self.tasks[task])
        return self.envs[task, place]

    def close(self) -> None:
        for env in self.envs.values():
            env.close()
        self.envs = {}


def score_of(task: SuiteTask, total: float, success: bool) -> float:
    """Success, or the return between the references."""
    if task.has_success:
        return float(success)
    return float(normalized(total, *(task.references or (0.0, 1.0))))


def mean_scores(episodes: list[SuiteEpisode]) -> dict[str, dict[str, float]]:
    """Of each task: mean score, success at any step, return."""
    tasks = dict.fromkeys(episode.task for episode in episodes)
    return {
        task: {
            'score': float(np.mean([one.score for one in episodes if one.task == task])),
            'any_success': float(np.mean([one.any_success for one in episodes if one.task == task])),
            'return': float(np.mean([one.total for one in episodes if one.task == task])),
        }
        for task in tasks
    }
