"""Record episodes to learn from: train an agent, then let snapshots of it act; or walk through a maze.

    python scripts/collect.py --robot hopper --quality medium --n_transitions 50000 --savepath data/mine.hdf5
    python scripts/collect.py --robot maze2d-medium-v1 --n_transitions 100000 --savepath data/walks.hdf5
    python scripts/collect.py --suite metaworld --tasks reach-v3 window-close-v3 --n_episodes 30 --savepath data/suite

`--quality` takes D4RL's words, and several of them share the transitions evenly:

    random         the agent before its first update
    medium         the first snapshot to reach a third of D4RL's expert return
    medium-replay  everything the agent saw up to that snapshot (SAC alone keeps it)
    expert         the best snapshot of the whole run
    snapshots      all of them, which share the transitions evenly: from the first steps to the last policy

Needs `pip install -e .[collect]`. Snapshots stay under `--snapshots`; a second start trains only what is missing.

In a maze a controller of ours finds the way, and nothing is trained: an episode goes from a random place to another,
and ends there. As in D4RL's own data the rewards are those of the maze's one goal. Needs `pip install -e .[robotics]`.

With `--suite metaworld` or `dm_control` hand-written policies act, `--tasks` names tasks or splits (mt40, cw10, dmc10,
dmc6), and `--savepath` is a folder that gets a file for each task. `--action_noise 0 0.1 0.3` disturbs the actions as
they are taken, episode by episode in turn; what is recorded are the actions as they were intended. Needs
`pip install -e .[metaworld]`, or `.[dm_control]`.
"""

import logging
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from trajectory import utils
from trajectory.datasets.hdf5 import COLUMNS, write_episodes
from trajectory.environments.catalogue import ROBOTS, is_task, reference_returns
from trajectory.environments.suites.registry import expand_tasks
from trajectory.rollouts.scripted import record_scripted, scripted_policy
from trajectory.rollouts.waypoints import WaypointController
from trajectory.utils.errors import InputError
from trajectory.utils.files import cannot_write

log = logging.getLogger(__name__)

QUALITIES = ('random', 'medium', 'medium-replay', 'expert', 'snapshots')
ARRIVED = 0.1, 0.2  # at most so far from a walk's goal, and so slow: metres, metres a second
MEDIUM_SHARE = 1 / 3  # of D4RL's expert return: "approximately 1/3 the performance of the expert" (Fu et al. 2020)
AGENTS = {  # what differs from Stable-Baselines3's own settings
    'SAC': {},
    'PPO': {'n_steps': 2048, 'batch_size': 64, 'ent_coef': 0.0, 'policy_kwargs': {'log_std_init': -1.0}},
}


class Parser(utils.Flags):
    """What to record, and how long to train for it."""

    robot: str = 'hopper'  # hopper, halfcheetah, walker2d or ant; or a maze: maze2d-medium-v1
    physics: str = 'd4rl'  # d4rl (MuJoCo 2.1.0's) or stock
    quality: list[str] = ['medium']  # random, medium, medium-replay, expert, snapshots; several share the transitions
    n_transitions: int = 100_000  # steps to record
    savepath: str = ''  # the HDF5 file to write, of a suite the folder
    suite: Literal['metaworld', 'dm_control'] | None = None  # whose tasks hand-written policies act in
    tasks: list[str] = []  # of the suite, or its splits
    n_episodes: int = 30  # of each task of a suite
    action_noise: list[float] = [0.0]  # deviation of the noise on actions in episodes of a suite, in turn
    agent: str = 'SAC'  # SAC, as D4RL, or PPO, which learns less from a step and far more in a minute
    train_steps: int = 300_000  # environment steps of the agent's training
    eval_every: int = 10_000  # environment steps between snapshots
    eval_episodes: int = 10  # episodes that judge a snapshot
    snapshots: str = 'logs/collect'  # folder of the snapshots, one folder in it for each robot, agent and seed
    seed: int = 0


def main(args):
    if args.suite is not None:
        record_suite(args)
        return
    # ------------------------------- setup -------------------------------- #
    check(args)
    from trajectory.environments.making import make_environment

    walking = is_maze(args.robot)
    env = (
        make_environment(args.robot, 'stock') if walking else make_environment(f'{ROBOTS[args.robot]}-v4', args.physics)
    )
    folder = Path(args.snapshots) / f'{args.robot}-{args.physics}-{args.agent}-seed{args.seed}'

    # ------------------------------ training ------------------------------ #
    evaluations = [] if walking else train(args, env, folder)
    for row in evaluations:
        log.info('%(steps)9s steps | return %(mean_return)8.1f ± %(std_return).1f', row)

    # ------------------------------ recording ----------------------------- #
    qualities = ['walks'] if walking else expand(args.quality, evaluations)
    shares = np.diff(np.linspace(0, args.n_transitions, len(qualities) + 1).astype(int))
    parts, policies = [], []
    for number, (quality, share) in enumerate(zip(qualities, shares, strict=True)):
        if walking:
            columns, policy = walks(env, int(share), args.seed), 'walks from place to place by waypoints'
        else:
            columns, policy = record(args, env, folder, evaluations, quality, int(share), seed=args.seed + number)
        columns['timeouts'][-1] = not columns['terminals'][-1]  # cut off here, and not continued by the next part
        parts.append(columns)
        policies.append(policy)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}

    # ------------------------------ results ------------------------------- #
    packages = ('gymnasium-robotics',) if walking else ('stable-baselines3', 'torch')
    write_episodes(
        args.savepath,
        columns,
        metadata={
            'env': env.id,
            'physics': env.physics,
            'policy': policies,
            'seed': args.seed,
            'sources': f'scripts/collect.py: {", ".join(policies)}',
            'versions': {name: version(name) for name in ('gymnasium', 'mujoco', *packages, 'numpy')},
        },
    )
    ends = np.flatnonzero(columns['terminals'] | columns['timeouts']) + 1
    returns = np.array([piece.sum() for piece in np.split(columns['rewards'], ends) if len(piece)])
    print(
        f'{args.savepath}: {len(columns["rewards"]):,} transitions, {len(returns):,} episodes, '
        f'return {returns.mean():.0f} ± {returns.std():.0f} ({returns.min():.0f} to {returns.max():.0f})\n'
        f'Train on it: python scripts/train.py --dataset {Path(args.savepath).stem} --dataset_path {args.savepath}'
    )


def record_suite(args):
    """Record each task of a suite by its hand-written policy, a file for each."""
    utils.check_positive('n_episodes', args.n_episodes)
    if not args.savepath:
        raise InputError('nowhere to write; name a folder: --savepath data/suite')
    tasks = expand_tasks(args.tasks)
    for task in tasks:
        if task.suite != args.suite:
            raise InputError(f'{task.name} is a task of {task.suite}, not of {args.suite}.\n  Record each suite alone.')
        if any(noise < 0 for noise in args.action_noise):
            raise InputError(f'action_noise must be at least 0, got {args.action_noise}.\n  Pass --action_noise 0 0.1')
        scripted_policy(task)  # which refuses a task that it has no policy for
    utils.mkdir(args.savepath)
    for task in tasks:
        with utils.Progress(args.n_episodes, name=task.name) as progress:
            columns = record_scripted(task, args.n_episodes, args.seed, args.action_noise, progress)
            progress.stamp()
        path = Path(args.savepath, f'{task.name}.hdf5')
        metadata = {
            'env': task.name,
            'physics': 'stock',
            'suite': task.suite,
            'task': task.name,
            'domain': task.suite,
            'policy': 'hand-written',
            'action_noise': args.action_noise,
            'seed': args.seed,
            'sources': f'scripts/collect.py: the hand-written policy of {task.name}',
            'versions': {name: version(name) for name in (task.suite, 'mujoco', 'numpy')},
        }
        write_episodes(path, columns, metadata)
        ends = np.flatnonzero(columns['terminals'] | columns['timeouts']) + 1
        pieces = np.split(columns['rewards'], ends)[: len(ends)]
        done = [piece[-1] for piece in np.split(columns['successes'], ends)[: len(ends)]] if task.has_success else []
        success = f', success at the last step {np.mean(done):.2f}' if done else ''
        print(f'{path}: {len(ends)} episodes, return {np.mean([piece.sum() for piece in pieces]):.0f}{success}')


def expand(qualities, evaluations):
    """The qualities, `snapshots` written out as the steps of each."""
    return [
        part
        for quality in qualities
        for part in ([row['steps'] for row in evaluations] if quality == 'snapshots' else [quality])
    ]


def is_maze(robot):
    return robot.startswith('maze2d') and is_task(robot)


def check(args):
    """Refuse what cannot be recorded, before any training."""
    utils.set_seed(args.seed)
    utils.check_positive('eval_episodes', args.eval_episodes)
    if not args.savepath:
        raise InputError('nowhere to write; name a file: --savepath FILE.hdf5')
    if not Path(args.savepath).parent.is_dir():
        raise InputError(f'the folder {Path(args.savepath).parent} is not there; make it, or pass another --savepath')
    if Path(args.savepath).is_dir():
        raise InputError(f'{args.savepath} is a folder; name a file: --savepath FILE.hdf5')
    try:
        tempfile.TemporaryFile(dir=Path(args.savepath).parent).close()  # to know before the hours of training
    except OSError as error:
        raise cannot_write(args.savepath, error) from error
    if is_maze(args.robot):
        utils.check_positive('n_transitions', args.n_transitions)
        return
    if not args.quality:
        raise InputError(f'no quality is named; there are: {", ".join(QUALITIES)}')
    for name, choices in (('robot', [*ROBOTS, 'maze2d-medium-v1 and other mazes']), ('agent', AGENTS)):
        if getattr(args, name) not in choices:
            raise InputError(f"unknown {name} '{getattr(args, name)}'; there are: {', '.join(choices)}")
    for quality in args.quality:
        if quality not in QUALITIES:
            raise InputError(f"unknown quality '{quality}'; there are: {', '.join(QUALITIES)}")
    if 'medium-replay' in args.quality and args.agent != 'SAC':
        raise InputError(f'{args.agent} keeps nothing of what it saw; record medium-replay with --agent SAC')
    if args.n_transitions < len(args.quality) or args.train_steps < args.eval_every or args.eval_every < 1:
        raise InputError(
            'expected at least one transition a quality, and train_steps >= eval_every >= 1; found '
            f'{args.n_transitions} transitions, {args.train_steps} and {args.eval_every} steps'
        )
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise InputError('recording needs Stable-Baselines3: pip install -e .[collect]') from error


def train(args, env, folder):
    """Train the agent, a snapshot every `eval_every` steps; or go on from what an earlier start left.

    returns : one row a snapshot: steps, mean_return, std_return (of its sampled, not its greedy, actions)
    """
    import stable_baselines3
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    from trajectory.environments.making import make_environment

    kind = getattr(stable_baselines3, args.agent)
    rows = folder / 'evaluations.json'
    evaluations = utils.read_json(rows) if rows.exists() else []
    start = evaluations[-1]['steps'] if evaluations else 0
    if evaluations and (start >= args.train_steps or enough(env, args.quality, evaluations)):
        return [row for row in evaluations if row['steps'] <= args.train_steps]

    utils.mkdir(folder, flag='--snapshots')
    if evaluations:
        agent = load_snapshot(args.agent, folder, start, env, with_replay=args.agent == 'SAC')
    else:
        agent = kind('MlpPolicy', env, seed=args.seed, device='cpu', **AGENTS[args.agent])
    judge = Monitor(make_environment(env.id, args.physics))
    with utils.Progress(args.train_steps - start, name=args.agent) as progress:
        while not evaluations or evaluations[-1]['steps'] < args.train_steps:
            if evaluations:
                agent.learn(args.eval_every, reset_num_timesteps=False)
            steps = agent.num_timesteps
            mean, std = evaluate_policy(agent, judge, args.eval_episodes, deterministic=False)
            evaluations.append({'steps': steps, 'mean_return': float(mean), 'std_return': float(std)})
            agent.save(folder / f'steps{steps}')
            if args.agent == 'SAC':
                agent.save_replay_buffer(folder / 'replay')
            utils.write_json(rows, evaluations)
            progress.update({'return': mean}, n=steps - start)
            start = steps
            if enough(env, args.quality, evaluations):
                break
        progress.stamp()
    return evaluations


def enough(env, qualities, evaluations):
    """Whether the snapshots so far hold every asked quality; the best of the run is known only at its end."""
    if 'expert' in qualities or 'snapshots' in qualities:
        return False
    return set(qualities) == {'random'} or any(is_medium(env, row) for row in evaluations)


def is_medium(env, row):
    low, high = reference_returns(env.id)
    return row['mean_return'] >= low + MEDIUM_SHARE * (high - low)


def record(args, env, folder, evaluations, quality, n_transitions, seed):
    """`n_transitions` steps of a quality, or of the snapshot after so many steps.

    returns : the columns, and the policy in words
    """
    choices = {
        'random': lambda: evaluations[0],
        'expert': lambda: max(evaluations, key=lambda row: row['mean_return']),
        **{row['steps']: lambda row=row: row for row in evaluations},
    }
    chosen = choices.get(quality, lambda: first_medium(env, evaluations))()
    words = f'{args.agent} after {chosen["steps"]:,} steps (return {chosen["mean_return"]:.0f})'
    agent = load_snapshot(args.agent, folder, chosen['steps'], with_replay=quality == 'medium-replay')
    if quality == 'medium-replay':
        return replayed(agent.replay_buffer, chosen['steps'], n_transitions), f'replay buffer of {words}'
    utils.set_seed(seed)
    return rollouts(env, lambda observation: agent.predict(observation)[0], n_transitions, seed), f'{words}, sampled'


def load_snapshot(kind, folder, steps, env=None, with_replay=False):
    """The agent as it was after so many steps, and on request with all that it has seen."""
    import stable_baselines3

    try:
        agent = getattr(stable_baselines3, kind).load(folder / f'steps{steps}', env, device='cpu')
        if with_replay:
            agent.load_replay_buffer(folder / 'replay')
    except Exception as error:  # damaged archives make the readers raise nearly anything
        raise InputError(
            f'the snapshot {folder}/steps{steps} cannot be read: {error or type(error).__name__}.\n'
            '  Delete its folder, to train again; or pass another --snapshots.'
        ) from error
    return agent


def first_medium(env, evaluations):
    """The first snapshot that is good enough to be called medium."""
    for row in evaluations:
        if is_medium(env, row):
            return row
    best = max(row['mean_return'] for row in evaluations)
    raise InputError(
        f'the agent reached a return of {best:.0f}, not a third of the expert that D4RL scores 100.\n'
        f'  Train longer: --train_steps {2 * evaluations[-1]["steps"]}'
    )


def rollouts(env, act, n_transitions, seed):
    """Act from reset to end, again and again, until the count is full."""
    columns = {name: [] for name in COLUMNS}
    observation, _ = env.reset(seed=seed)
    with utils.Progress(n_transitions, name='recording') as progress:
        for _ in range(n_transitions):
            action = act(observation)
            following, reward, terminated, truncated, _ = env.step(action)
            step = (observation, action, reward, terminated, truncated and not terminated)
            for name, value in zip(COLUMNS, step, strict=True):
                columns[name].append(value)
            observation = env.reset()[0] if terminated or truncated else following
            progress.update()
    return {name: np.array(column) for name, column in columns.items()}


def walks(env, n_transitions, seed):
    """Walk through a maze, from random places to others; an episode ends on arrival.

    At most `n_transitions` steps: the last walk is left out if it does not end, for then nothing says where it went.
    """
    controller = WaypointController(env.cells, np.random.default_rng(seed))
    columns = {name: [] for name in COLUMNS}
    n_walked = 0  # steps of the walks that ended
    with utils.Progress(n_transitions, name='walking') as progress:
        while len(columns['rewards']) < n_transitions:
            observation, _ = env.reset(seed=None if columns['rewards'] else seed)
            controller.head_for(env.random_place(controller.rng))
            over = False
            while not over and len(columns['rewards']) < n_transitions:
                action = controller.act(observation)
                following, reward, _, truncated, _ = env.step(action)
                distance, speed = np.linalg.norm(observation[:2] - controller.goal), np.linalg.norm(observation[2:])
                over = truncated or (distance <= ARRIVED[0] and speed <= ARRIVED[1])
                for name, value in zip(COLUMNS, (observation, action, reward, False, over), strict=True):
                    columns[name].append(value)
                observation = following
                progress.update()
            n_walked = len(columns['rewards']) if over else n_walked
    if not n_walked:
        raise InputError(
            f'{n_transitions} steps are too few for one walk through {env.id}.\n  Pass --n_transitions 10000, say.'
        )
    return {name: np.array(column[:n_walked]) for name, column in columns.items()}


def replayed(buffer, n_steps, n_transitions):
    """The last `n_transitions` of the first `n_steps` in a replay buffer, in the order they happened."""
    kept = slice(max(0, n_steps - n_transitions), n_steps)
    dones, timeouts = buffer.dones[kept, 0].astype(bool), buffer.timeouts[kept, 0].astype(bool)
    return {
        'observations': buffer.observations[kept, 0],
        'actions': buffer.actions[kept, 0],
        'rewards': buffer.rewards[kept, 0],
        'terminals': dones & ~timeouts,
        'timeouts': timeouts,
    }


if __name__ == '__main__':
    utils.run(main, Parser, experiment=None)
