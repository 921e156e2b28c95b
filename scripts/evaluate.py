"""Evaluate the policy of any method, acting in the environment it was trained for.

python scripts/evaluate.py --config config.behavior_cloning --dataset hopper-medium-v2 --n_episodes 20
"""

import logging

import numpy as np

from trajectory import utils
from trajectory.algorithms.base import find_algorithm
from trajectory.rollouts.recording import NEUTRAL, Recording, loaded_run, make_renderers, prepare_process  # noqa: F401

log = logging.getLogger(__name__)


class Parser(utils.Parser):
    dataset: str = 'halfcheetah-medium-expert-v2'  # dataset the policy was trained on
    config: str = 'config.offline'  # module with the settings


def main(args):
    device = utils.resolve_device(args.device)
    prepare_process(args, device)
    run, epoch = loaded_run(args)
    algorithm = find_algorithm(args.algorithm).load(run, epoch, device)
    agent = algorithm.agent(args)
    spec = algorithm.spec(args.dataset, args.backend)
    log.info(
        '%s, epoch %s | environment %s, physics %s | learned from %s',
        run,
        algorithm.epoch,
        spec.id,
        spec.physics,
        spec.data_source,
    )
    with Recording(args, spec, agent, algorithm.identity(), {'gpt_epoch': algorithm.epoch}) as recording:
        renderers = make_renderers(args, recording)
        recording.run('acting')
        for episode, renderer, folder in zip(recording.episodes, renderers, recording.folders, strict=True):
            renderer.render_rollout(folder / 'rollout.mp4', np.array(episode.states))
    print(recording.report(algorithm.mean_return))


if __name__ == '__main__':
    utils.run(main, Parser, 'evaluate')
