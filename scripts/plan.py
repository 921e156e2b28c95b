"""Plan with a trained model, acting in the environment it was trained for.

    python scripts/plan.py --dataset hopper-medium-v2 --gpt_loadpath gpt/pretrained
    python scripts/plan.py --dataset halfcheetah-medium-v2 --n_episodes 15 --renderer None
    python scripts/plan.py --dataset maze2d-medium-waypoints --gpt_loadpath gpt/goals --goal random --n_episodes 50
"""
import logging
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from trajectory import utils
from trajectory.datasets import get_preprocess_fn
from trajectory.datasets.d4rl import find_run
from trajectory.datasets.recovery import open_environment, recover, save_beside
from trajectory.rollouts.episode import Episode
from trajectory.rollouts.evaluation import check_settings
from trajectory.search import beam_plan, extract_actions, goal_plan
from trajectory.search.core import check_plan, estimate_plan
from trajectory.search.graphs import Graphs
from trajectory.storage.pretrained import TrainedModel
from trajectory.storage.run_folder import clear_plan, hash_model, identity_of, lock_folder
from trajectory.utils.arrays import physical_memory
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)


class Parser(utils.Parser):
    dataset: str = 'halfcheetah-medium-expert-v2'  # data set the model was trained on
    config: str = 'config.offline'                 # module with the settings


# settings that say where a plan lies, or which of several it is
PLACES = {'seed', 'suffix', 'prefix', 'exp_name', 'gpt_loadpath', 'gpt_epoch'}

CORE_RATE = 5e10        # floating-point operations a second that planning reaches on a core, about
SLOW_PLAN = 60 * CORE_RATE

# settings that do not change what is planned
FREE_TO_CHANGE = {
    'debug', 'config', 'experiment', 'savepath', 'logbase', 'dataset_path', 'device', 'threads', 'n_episodes',
    'renderer', 'n_videos', 'vis_freq', 'verbose',
}


def main(args):
    # ------------------------------- setup -------------------------------- #
    device = utils.resolve_device(args.device)
    args.set_seed()
    for name in ('n_episodes', 'vis_freq', 'max_episode_steps', 'threads'):
        if getattr(args, name) is not None:
            utils.check_positive(name, getattr(args, name))
    check_settings(args)
    n_threads = 1  # which share the episodes; where one plans alone, torch may have more, but loses by it when busy
    if args.n_episodes > 1 and device.type == 'cpu':
        n_threads = args.threads or torch.get_num_threads()
    utils.set_threads(1 if n_threads > 1 else args.threads, default=1)
    utils.tune_malloc()

    # ------------------------------- model -------------------------------- #
    run = find_run(args.logbase, args.dataset, args.gpt_loadpath)
    trained = TrainedModel.from_run(*run, epoch=args.gpt_epoch, device=device)
    gpt, epoch = trained.model, trained.epoch
    window = (gpt.block_size + 1) // gpt.transition_dim
    if (args.max_context_transitions or 0) > window:
        log.info('a context of %s transitions does not fit the block of the model: planning with %s',
                 args.max_context_transitions, window)
    check_size(args, gpt)
    check_plan(gpt, gpt.layout, [], args.horizon, args.beam_width, args.n_expand, args.max_context_transitions,
               args.k_obs, args.k_act, args.k_rew)
    trained = recover(trained, args.dataset, args.dataset_path)
    save_beside(trained, Path(*run))
    discretizer, source = trained.discretizer, trained.source
    log.info('%s, epoch %s | environment %s, physics %s | learned from %s',
             Path(*run), epoch, source['environment'], source['physics'], source['data_source'])

    discount = trained.discount if args.discount is None else args.discount

    def value_fn(probs):
        return discretizer.value_fn(probs, args.percentile)

    # ---------------------------- environments ---------------------------- #
    hold = trained.data.get('step', 1) if trained.data else 1
    episodes = [
        Episode(open_environment(trained, args.dataset, args.backend), args.seed + k, discretizer,
                get_preprocess_fn(source['environment']), device, args.max_context_transitions,
                args.prefix_context, args.max_episode_steps, hold=hold, goal=args.goal)
        for k in range(args.n_episodes)
    ]
    goals = torch.stack([episode.goal() for episode in episodes]) if gpt.n_goal else None
    renderers = [utils.make_renderer(args.renderer if k < args.n_videos else None, episode.env)
                 for k, episode in enumerate(episodes)]
    owned = ExitStack()
    folders = [owned.enter_context(lock_folder(args.settle(k)['savepath'])) for k in range(args.n_episodes)]
    for k, folder in enumerate(folders):
        clear_plan(folder)
        args.prepare_folder(repetition=k)
    model_hash = hash_model(trained.weights, discretizer)
    unnamed = {*FREE_TO_CHANGE, *PLACES}
    identity = identity_of(model_hash, {name: value for name, value in args.as_dict().items() if name not in unnamed})

    # ----------------------------- main loop ------------------------------ #
    graphs = Graphs()
    started = time.perf_counter()
    bar = utils.Progress if args.verbose else utils.Silent
    with bar(max(episode.max_steps for episode in episodes), name='planning') as progress:
        while live := [k for k, episode in enumerate(episodes) if not episode.over]:
            step = episodes[live[0]].step
            turn = step // hold
            if turn % args.plan_freq == 0:
                prefixes = [episodes[k].prefix() for k in live]
                if gpt.n_goal:
                    sequences = goal_plan(gpt, prefixes, args.horizon, args.beam_width, goals[live],
                                          args.max_context_transitions, n_threads=n_threads)
                else:
                    sequences = beam_plan(
                        gpt, value_fn, prefixes, args.horizon, args.beam_width, args.n_expand,
                        gpt.observation_dim, gpt.action_dim, discount=discount,
                        max_context_transitions=args.max_context_transitions, k_obs=args.k_obs, k_act=args.k_act,
                        k_rew=args.k_rew, cdf_obs=args.cdf_obs, cdf_act=args.cdf_act, cdf_rew=args.cdf_rew,
                        temperature=args.temperature,
                        verbose=False, generator=[episodes[k].generator for k in live], n_threads=n_threads,
                        graphs=graphs,
                    )
                for k, sequence in zip(live, sequences, strict=True):
                    episodes[k].take(sequence)
            for k in live:
                if step % args.vis_freq < hold:
                    imagined = np.repeat(episodes[k].imagined(), hold, axis=0)
                    renderers[k].render_plan(folders[k] / f'{step}_plan.mp4', imagined, episodes[k].states[-1])
                episodes[k].act(extract_actions(episodes[k].plan, gpt.observation_dim, gpt.action_dim, t=0))
                if episodes[k].over:
                    utils.write_json(folders[k] / 'rollout.json', {
                        **episodes[k].summary(), 'gpt_epoch': epoch, 'dataset': args.dataset,
                        'data_source': source['data_source'], 'model': model_hash, 'identity': identity,
                    })
            mean_return = np.mean([episode.total_reward for episode in episodes])
            progress.update({'return': float(mean_return), 'episodes': len(live)}, n=hold)
        progress.stamp()
    seconds = time.perf_counter() - started

    # ------------------------------ results ------------------------------- #
    owned.close()
    n_steps = sum(episode.step for episode in episodes)
    for episode, renderer, folder in zip(episodes, renderers, folders, strict=True):
        utils.write_json(folder / 'timing.json', {'seconds_per_step': seconds / n_steps, 'episodes': len(episodes)})
        renderer.render_rollout(folder / 'rollout.mp4', np.array(episode.states))
    returns = np.array([episode.total_reward for episode in episodes])
    scores = [episode.env.get_normalized_score(total) for episode, total in zip(episodes, returns, strict=True)]
    error = f' ± {returns.std(ddof=1) / len(returns) ** 0.5:.1f}' if len(returns) > 1 else ''
    score = '' if None in scores else f' | 100 x score {100 * np.mean(scores):.1f}'
    reached = [episode.success for episode in episodes]
    success = f' | {sum(reached)} of {len(reached)} goals reached' if episodes[0].env.has_goals else ''
    print(f'Return {returns.mean():.1f}{error}, n = {len(returns)}{score}{success} | {source["environment"]}, '
          f'{source["physics"]} physics | learned from {source["data_source"]}\n'
          f'The data\'s mean return is {source["mean_return"]:.1f} | {1000 * seconds / n_steps:.0f} ms a step\n'
          f'Results are in {folders[0].parent}\n'
          f'Sum them up: python plotting/read_results.py --dataset {args.dataset} --logbase {args.logbase}')


def check_size(args, gpt):
    """Refuse a plan that the memory cannot hold, and announce one that takes minutes, before any work."""
    n_context = (args.max_context_transitions or gpt.block_size) * gpt.transition_dim
    n_bytes, flops = estimate_plan(gpt, args.n_episodes, args.horizon, args.beam_width, args.n_expand,
                                   min(n_context, gpt.block_size))
    largest = max(('beam_width', 'n_expand', 'n_episodes'), key=lambda name: getattr(args, name))
    if n_bytes > (limit := physical_memory()):
        raise InputError(f'a plan with {largest} = {getattr(args, largest)} takes about {n_bytes / 2**30:.3g} GiB, and '
                         f'this machine has {limit / 2**30:.3g}.\n  Pass a smaller --{largest}.')
    if flops > SLOW_PLAN:
        log.warning('each plan computes %.3g GFLOP, about %.3g s on one core: a smaller --%s or --horizon is faster',
                    flops / 1e9, flops / CORE_RATE, largest)


if __name__ == '__main__':
    utils.run(main, Parser, 'plan')
