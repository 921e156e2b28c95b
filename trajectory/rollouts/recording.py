"""Let an agent act for some episodes and record each in a folder of its own: the part that evaluation scripts share."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from trajectory.cli.setup import Parser
from trajectory.environments.spec import EnvironmentSpec
from trajectory.rollouts.agent import Agent
from trajectory.rollouts.episode import Episode
from trajectory.rollouts.evaluation import run_episodes
from trajectory.storage.run_folder import clear_plan, hash_recipe, identity_of, lock_folder
from trajectory.storage.weights import how_to_get_a_model
from trajectory.utils.errors import InputError, check_positive
from trajectory.utils.files import write_json
from trajectory.utils.progress import Progress, Silent
from trajectory.utils.runtime import allow_open_files, set_threads, tune_malloc

log = logging.getLogger(__name__)

# settings that say where a result lies, or which of several it is
PLACES = {
    *('seed', 'suffix', 'prefix', 'exp_name'),
    *('gpt_loadpath', 'gpt_epoch', 'loadpath', 'epoch', 'q_loadpath', 'q_epoch'),
}

# settings that do not change what happens in an episode
NEUTRAL = {
    'debug',
    'config',
    'experiment',
    'savepath',
    'logbase',
    'dataset_path',
    'device',
    'threads',
    'n_episodes',
    'renderer',
    'n_videos',
    'vis_freq',
    'trace_freq',
    'verbose',
}


def prepare_process(args: Parser, device: torch.device, *, own_threads: bool = False) -> None:
    """Seed the process and set torch's threads: one, where several episodes share out the CPU's, or candidates do.

    own_threads : what acts has CPU threads of its own for one episode, too
    """
    args.set_seed()
    for name in ('n_episodes', 'vis_freq', 'trace_freq', 'max_episode_steps', 'threads'):
        if getattr(args, name, None) is not None:
            check_positive(name, getattr(args, name))
    set_threads(args.threads, default=1)
    if device.type == 'cpu' and (own_threads or args.n_episodes > 1):
        set_threads(1)
    tune_malloc()


class Recording:
    """Episodes of one agent, each with a folder that this process owns until `close`.

    args  : parsed settings of a script that acts
    spec  : where it acts
    model : checksum of what acts, see `Algorithm.identity`
    facts : what else `rollout.json` says of each episode
    recipe : checksum of how it was trained, see `hash_recipe`; results of one recipe are repetitions
    """

    def __init__(
        self, args: Parser, spec: EnvironmentSpec, agent: Agent, model: str, facts: dict, recipe: str | None = None
    ):
        allow_open_files(args.n_episodes)
        self.args, self.spec, self.agent = args, spec, agent
        settings = {name: value for name, value in args.as_dict().items() if name not in {*NEUTRAL, *PLACES}}
        self.facts = {
            **facts,
            'dataset': args.dataset,
            'algorithm': args.algorithm,
            'data_source': spec.data_source,
            'model': model,
            'identity': identity_of(recipe or model, settings),
        }
        self.episodes = [
            Episode(
                spec.make(), args.seed + k, args.max_episode_steps, action_repeat=agent.action_repeat, goal=args.goal
            )
            for k in range(args.n_episodes)
        ]
        self.seconds = 0.0
        self._owned = ExitStack()
        with closing_on_error(self._owned):
            self.folders = [
                self._owned.enter_context(lock_folder(args.resolve(k)['savepath'])) for k in range(args.n_episodes)
            ]
            for k, folder in enumerate(self.folders):
                clear_plan(folder)
                args.prepare_folder(repetition=k)

    @classmethod
    def of_run(cls, args: Parser, algorithm, agent: Agent, run: Path, ranker=None, ranker_run: Path | None = None):
        """Episodes of a trained run, which is announced.

        algorithm, agent   : `Algorithm` that was loaded from the folder `run`, and its agent
        ranker, ranker_run : of a second model that has a say in what the agent does, and its folder
        """
        spec = algorithm.spec(args.dataset, args.backend)
        log.info(
            '%s, epoch %s | environment %s, physics %s | learned from %s',
            run,
            algorithm.epoch,
            spec.id,
            spec.physics,
            spec.data_source,
        )
        model, recipe, facts = algorithm.identity(), hash_recipe(run), {'gpt_epoch': algorithm.epoch}
        if ranker is not None and ranker_run is not None:
            log.info('candidates are ranked by %s, epoch %s', ranker_run, ranker.epoch)
            model, facts = f'{model}+{ranker.identity()}', {**facts, 'q_epoch': ranker.epoch}
            recipe = f'{recipe}+{second}' if recipe and (second := hash_recipe(ranker_run)) else None
        return cls(args, spec, agent, model, facts, recipe)

    def run(self, name: str, on_act: Callable | None = None) -> None:
        """Act to the end of every episode.    name : of the progress    on_act : see `run_episodes`"""
        episodes, started = self.episodes, time.perf_counter()
        bar = Progress if self.args.verbose else Silent
        with bar(max(episode.max_steps for episode in episodes), name=name) as progress:

            def show(n_live):
                mean = float(np.mean([episode.total_reward for episode in episodes]))
                progress.update({'return': mean, 'episodes': n_live}, n=self.agent.action_repeat)

            run_episodes(self.agent, episodes, on_act=on_act, on_end=self._write, on_step=show)
            progress.stamp()
        self.seconds = time.perf_counter() - started

    def _write(self, k):
        write_json(self.folders[k] / 'rollout.json', {**self.episodes[k].summary(), **self.facts})

    def close(self) -> None:
        """Write the timing, and release the folders."""
        for folder in self.folders if self.seconds else ():
            write_json(
                folder / 'timing.json',
                {'seconds_per_step': self.seconds / self.n_steps, 'episodes': len(self.episodes)},
            )
        self._owned.close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()

    @property
    def n_steps(self) -> int:
        return sum(episode.step for episode in self.episodes)

    def report(self, mean_return: float | None = None) -> str:
        """What the script prints at its end.    mean_return : of the data, where there is data"""
        returns = np.array([episode.total_reward for episode in self.episodes])
        scores = [episode.summary()['score'] for episode in self.episodes]
        error = f' ± {returns.std(ddof=1) / len(returns) ** 0.5:.1f}' if len(returns) > 1 else ''
        score = '' if None in scores else f' | 100 x score {100 * np.mean(scores):.1f}'
        reached = [episode.success for episode in self.episodes]
        success = f' | {sum(reached)} of {len(reached)} goals reached' if self.episodes[0].env.has_goals else ''
        learned = f' | learned from {self.spec.data_source}' if self.spec.data_source else ''
        of_data = f"The data's mean return is {mean_return:.1f} | " if mean_return is not None else ''
        return (
            f'Return {returns.mean():.1f}{error}, n = {len(returns)}{score}{success} | {self.spec.id}, '
            f'{self.spec.physics} physics{learned}\n'
            f'{of_data}{1000 * self.seconds / self.n_steps:.0f} ms a step\n'
            f'Results are in {self.folders[0].parent}\n'
            f'Sum them up: python plotting/read_results.py --dataset {self.args.dataset} '
            f'--logbase {self.args.logbase}'
        )


@contextmanager
def closing_on_error(stack: ExitStack):
    """Close a stack if what happens inside fails."""
    try:
        yield
    except BaseException:
        stack.close()
        raise


def make_renderers(args: Parser, recording: Recording) -> list:
    """A renderer for each episode, by `--renderer`, for the first `--n_videos` of them."""
    from trajectory.rendering.renderers import make_renderer

    return [
        make_renderer(args.renderer if k < args.n_videos else None, episode.env)
        for k, episode in enumerate(recording.episodes)
    ]


def loaded_run(args: Parser, on_data: bool = True) -> tuple[Path, int | str]:
    """The folder of the run that is to act, and the epoch: `--loadpath` and `--epoch`, for plans `--gpt_…`.

    on_data : whether such a run learned from a dataset, whose name must then be known
    """
    from trajectory.datasets.sources import find_run

    is_gpt = hasattr(args, 'gpt_loadpath')
    name, epoch = (args.gpt_loadpath, args.gpt_epoch) if is_gpt else (args.loadpath, args.epoch)
    folder = Path(*find_run(args.logbase, args.dataset, name)) if on_data else Path(args.logbase, args.dataset, name)
    if not folder.is_dir():
        names = f'--dataset {args.dataset} --exp_name {name}'
        how = f'\n  Train one: python scripts/train.py --config {args.config} {names}'
        if is_gpt:
            how = how_to_get_a_model((args.logbase, args.dataset, name))
        raise InputError(f'there is no run in {folder}.{how}')
    return folder, epoch
