"""Evaluate adaptation: the return on held-out tasks after 0, 1, … gradient steps, each an experiment of its own."""

import logging
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from trajectory.algorithms.maml.agent import SamplingAgent
from trajectory.algorithms.maml.learner import TaskParams
from trajectory.rollouts.batch_episodes import BatchEpisodes, total_rewards
from trajectory.rollouts.recording import NEUTRAL, PLACES, closing_on_error
from trajectory.rollouts.sampler import BatchSampler
from trajectory.storage.run_folder import clear_plan, hash_recipe, identity_of, lock_folder
from trajectory.utils.errors import InputError, check_positive
from trajectory.utils.files import write_atomically, write_json
from trajectory.utils.video import save_video

log = logging.getLogger(__name__)

# settings that do not tell results apart; here the number of episodes does, for adaptation learns from them
ASIDE = {*NEUTRAL, *PLACES, 'n_tasks', 'num_workers', 'num_steps'} - {'n_episodes'}
FRAMES_PER_SECOND = 20  # as fast as the robots move
HELD_OUT = 2**32 - 5  # a word of the seeds of evaluations, so that no task of theirs was trained on


class Adaptation:
    """Adaptation of a policy to M held-out tasks, one gradient step after the other.

    method  : a `MAML` that was loaded or is being trained
    tasks   : M of them
    returns : [ steps + 1 x M ], mean over a task's episodes, of each number of steps so far
    """

    def __init__(self, method, sampler: BatchSampler, tasks: list[dict], seed: int):
        self.method, self.sampler, self.tasks, self.seed = method, sampler, tasks, seed
        self.params: TaskParams = method.learner.expand(method.policy.params, len(tasks))
        self.returns: list[np.ndarray] = []

    def act(self) -> BatchEpisodes:
        """Sample episodes of each task with the parameters so far."""
        draws = (HELD_OUT, self.seed, 1, len(self.returns))
        episodes = self.sampler.sample(self.method.policy, self.tasks, draws, self.params)
        self.returns.append(total_rewards(episodes))
        return episodes

    def step(self, episodes: BatchEpisodes, step_size: float) -> None:
        """Take a gradient step in each task, from these episodes."""
        self.params = self.method.learner.adapt(self.method.learner.rate(episodes), self.params, step_size)


def step_sizes(settings, trained_with: float) -> list[float]:
    """The size of each gradient step: halved after the first, as the authors' evaluation does."""
    for name in ('n_tasks', 'n_episodes'):
        check_positive(name, getattr(settings, name))
    if settings.num_steps < 0:
        raise InputError(f'num_steps must be at least 0, got {settings.num_steps}.\n  Pass --num_steps 3, say.')
    first = trained_with if settings.fast_lr is None else settings.fast_lr
    if settings.num_steps and not first > 0:
        raise InputError(
            f'fast_lr is {first:g}, and a gradient step needs a size.\n  Pass --fast_lr 0.1, say, or --num_steps 0.'
        )
    return [first * (1 if k == 0 else 0.5) for k in range(settings.num_steps)]


def sample_held_out(sampler: BatchSampler, n: int, seed: int) -> list[dict]:
    """Tasks of an evaluation; the k-th has the seed `seed + k`."""
    return [sampler.sample_tasks(1, (HELD_OUT, seed + k, 0))[0] for k in range(n)]


def evaluate_adaptation(method, settings) -> np.ndarray:
    """Returns of held-out tasks after each number of steps, [ steps + 1 x tasks ]."""
    sizes = step_sizes(settings, method.recipe['fast_lr'])
    sampler = BatchSampler(method.family.id, settings.n_episodes, settings.num_workers)
    try:
        run = Adaptation(method, sampler, sample_held_out(sampler, settings.n_tasks, settings.seed), settings.seed)
        for size in [*sizes, None]:
            episodes = run.act()
            if size is not None:
                run.step(episodes, size)
    finally:
        sampler.close()
    return np.array(run.returns)


def record_adaptation(method, args, run: Path) -> str:
    """Adapt to held-out tasks, and record each task after each number of steps as an episode of an experiment.

    Their folders are `<exp_name>/steps<k>/<task>`; those of the first `--n_videos` tasks hold `episodes.npz`, and a
    film where there is a robot.

    method : a `MAML`    args : parsed settings of `evaluate`    run : folder it was loaded from
    returns : what the script prints
    """
    sizes = step_sizes(args, method.recipe['fast_lr'])
    if args.weights == 'untrained':
        method.reset_policy(args.seed)
    sampler = BatchSampler(method.family.id, args.n_episodes, args.num_workers)
    tasks = sample_held_out(sampler, args.n_tasks, args.seed)
    adaptation = Adaptation(method, sampler, tasks, args.seed)
    name, recipe = args.exp_name, hash_recipe(run) if args.weights == 'trained' else None
    with ExitStack() as owned, closing_on_error(owned):
        owned.callback(sampler.close)
        for k, size in enumerate([*sizes, None]):
            args.exp_name = f'{name}/steps{k}'
            args.generate_exp_name()
            folders = _own_folders(args, owned)
            episodes = adaptation.act()
            _write_tasks(method, args, adaptation, episodes, folders, recipe)
            _film(method, adaptation, args, folders)
            log.info('%s gradient steps: return %s', k, _mean(adaptation.returns[-1]))
            if size is not None:
                adaptation.step(episodes, size)
    return _report(method, args, np.array(adaptation.returns), tasks)


def _own_folders(args, owned):
    folders = [owned.enter_context(lock_folder(args.resolve(m)['savepath'])) for m in range(args.n_tasks)]
    for m, folder in enumerate(folders):
        clear_plan(folder)
        (folder / 'episodes.npz').unlink(missing_ok=True)
        args.prepare_folder(repetition=m)
    return folders


def _write_tasks(method, args, adaptation, episodes, folders, recipe):
    settings = {name: value for name, value in args.as_dict().items() if name not in ASIDE}
    model = method.identity()
    facts = {
        'score': None,
        'term': False,
        'environment': method.family.id,
        'physics': method.family.physics,
        'gpt_epoch': method.epoch if args.weights == 'trained' else 0,
        'dataset': args.dataset,
        'algorithm': args.algorithm,
        'data_source': method.spec().data_source,
        'model': model,
        'identity': identity_of(recipe or model, settings),
        'gradient_steps': len(adaptation.returns) - 1,
        'episodes': args.n_episodes,
    }
    for m, (folder, task) in enumerate(zip(folders, adaptation.tasks, strict=True)):
        own = episodes.task(m)
        write_json(
            folder / 'rollout.json',
            {
                **facts,
                'return': float(adaptation.returns[-1][m]),
                'step': int(own.lengths.max()),
                'seed': args.seed + m,
                'task': {key: np.asarray(value).tolist() for key, value in task.items()},
            },
        )
        if m < args.n_videos:
            arrays = {key: getattr(own, key).numpy() for key in ('observations', 'actions', 'rewards', 'lengths')}
            with write_atomically(folder / 'episodes.npz') as partial, open(partial, 'wb') as file:
                np.savez(file, **arrays)


def _film(method, adaptation, args, folders):
    """Film an episode of the first tasks, where MuJoCo simulates them."""
    if method.family.is_batched:
        return
    for m in range(min(args.n_videos, len(folders))):
        params = {name: value[m : m + 1] for name, value in adaptation.params.items()}
        frames = film_episode(method, adaptation.tasks[m], params, args.seed + m)
        save_video(folders[m] / 'rollout.mp4', frames, fps=FRAMES_PER_SECOND)


def film_episode(method, task: dict, params: TaskParams, seed: int) -> np.ndarray:
    """Frames of one episode.    params : [ 1 x ... ] by name    returns : [ T x height x width x 3 ], uint8"""
    env, agent = method.family.make(render_mode='rgb_array'), SamplingAgent(method.policy, params)
    env.unwrapped.reset_task(task)
    observation, _ = env.reset(seed=seed)
    agent.reset(observation[None], [seed])
    frames, over = [env.render()], False
    while not over:
        observation, _, terminated, truncated, _ = env.step(agent.act(observation[None])[0])
        frames.append(env.render())
        over = terminated or truncated
    env.close()
    return np.array(frames)


def _report(method, args, returns, tasks):
    gain = f'\nThe first step gains {_mean(returns[1] - returns[0])}' if len(returns) > 1 else ''
    best = [method.optimal_return(task) for task in tasks]
    optimum = f' | optimum {np.mean(best):.1f}' if None not in best else ''
    lines = [f'{k} gradient steps  {_mean(of_tasks)}' for k, of_tasks in enumerate(returns)]
    return '\n'.join(
        [
            f'Return on {len(tasks)} held-out tasks of {method.family.id}, {args.n_episodes} episodes each'
            f' (± standard error over tasks){optimum}',
            *lines,
        ]
    ) + (
        f'{gain}\nResults are in {args.savepath.parent.parent}\n'
        f'Draw them: python plotting/adaptation.py {args.logbase} --dataset {args.dataset}'
    )


def _mean(values):
    error = f' ± {values.std(ddof=1) / len(values) ** 0.5:.2f}' if len(values) > 1 else ''
    return f'{values.mean():.2f}{error}'
