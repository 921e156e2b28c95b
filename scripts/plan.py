"""Plan with a trained model, acting in the environment it was trained for.

python scripts/plan.py --dataset hopper-medium-v2 --gpt_loadpath gpt/pretrained
python scripts/plan.py --dataset halfcheetah-medium-v2 --n_episodes 15 --renderer None
python scripts/plan.py --dataset maze2d-large-v1 --q_loadpath iql/default
python scripts/plan.py --dataset maze2d-medium-waypoints --gpt_loadpath gpt/goals --goal random --n_episodes 50
"""

import logging
from pathlib import Path

import numpy as np

from trajectory import utils
from trajectory.algorithms.implicit_q.algorithm import ImplicitQLearning
from trajectory.algorithms.trajectory_transformer import ALGORITHM
from trajectory.datasets.sources import find_run
from trajectory.rollouts.recording import NEUTRAL, Recording, loaded_run, make_renderers, prepare_process  # noqa: F401
from trajectory.search.core import estimate_plan
from trajectory.search.settings import SearchSettings
from trajectory.utils.arrays import physical_memory
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)

CORE_RATE = 5e10  # floating-point operations a second that planning reaches on a core, about
SLOW_PLAN = 60 * CORE_RATE


class Parser(utils.Parser):
    dataset: str = 'halfcheetah-medium-expert-v2'  # dataset the model was trained on
    config: str = 'config.offline'  # module with the settings


def main(args):
    device = utils.resolve_device(args.device)
    prepare_process(args, device, own_threads=True)
    SearchSettings.from_args(args, discount=1.0)  # refuses what no model could be searched with

    run, epoch = loaded_run(args)
    algorithm = ALGORITHM.load(run, epoch, device)
    check_size(args, algorithm.trained.model)
    agent = algorithm.agent(args)
    if args.trace_freq and (args.objective != 'value' or agent.model.n_goal):
        raise InputError('searches are kept of plans by value, without goals.\n  Leave out --trace_freq.')
    ranker = load_q(args, agent, device) if args.q_loadpath else ()
    with Recording.of_run(args, algorithm, agent, run, *ranker) as recording:
        renderers = make_renderers(args, recording)

        def draw_plan(k):
            episode, repeat = recording.episodes[k], agent.action_repeat
            if episode.step % args.vis_freq < repeat:
                imagined = np.repeat(agent.imagined(k), repeat, axis=0)
                renderers[k].render_plan(
                    recording.folders[k] / f'{episode.step}_plan.mp4', imagined, episode.states[-1]
                )

        recording.run('planning', on_act=draw_plan)
        for episode, renderer, folder in zip(recording.episodes, renderers, recording.folders, strict=True):
            renderer.render_rollout(folder / 'rollout.mp4', np.array(episode.states))
        for k, folder in enumerate(recording.folders):
            if searches := agent.searches(k):
                searches.save(folder / 'searches.npz')
    print(recording.report(algorithm.mean_return))


def load_q(args, agent, device):
    """Let a trained Q-function rank the agent's candidates.    returns : the algorithm, and the folder of its run"""
    if args.objective != 'value':
        raise InputError(f'{args.objective} ranks candidates without a Q.\n  Leave out --q_loadpath, or --objective.')
    if agent.model.n_goal:
        raise InputError('a model of goals is searched without a Q.\n  Leave out --q_loadpath.')
    run = Path(*find_run(args.logbase, args.dataset, args.q_loadpath))
    if not run.is_dir():
        raise InputError(
            f'there is no run in {run}.\n  Train one: python scripts/train.py --config config.implicit_q '
            f'--dataset {args.dataset} --exp_name {args.q_loadpath}'
        )
    q = ImplicitQLearning.load(run, args.q_epoch, device, '--q_epoch')
    agent.value_fn = q.ranking(agent.discretizer, agent.model.layout, agent.settings)
    return q, run


def check_size(args, model):
    """Refuse a plan that the memory cannot hold, and announce one that takes minutes, before any work."""
    window = (model.block_size + 1) // model.transition_dim
    if (args.max_context_transitions or 0) > window:
        log.info(
            'a context of %s transitions does not fit the block of the model: planning with %s',
            args.max_context_transitions,
            window,
        )
    n_bytes, flops = estimate_plan(model, args.n_episodes, SearchSettings.from_args(args, discount=1.0))
    largest = max(('beam_width', 'n_expand', 'n_episodes'), key=lambda name: getattr(args, name))
    if n_bytes > (limit := physical_memory()):
        raise InputError(
            f'a plan with {largest} = {getattr(args, largest)} takes about {n_bytes / 2**30:.3g} GiB, and '
            f'this machine has {limit / 2**30:.3g}.\n  Pass a smaller --{largest}.'
        )
    if flops > SLOW_PLAN:
        log.warning(
            'each plan computes %.3g GFLOP, about %.3g s on one core: a smaller --%s or --horizon is faster',
            flops / 1e9,
            flops / CORE_RATE,
            largest,
        )


if __name__ == '__main__':
    utils.run(main, Parser, 'plan')
