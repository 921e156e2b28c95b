"""Evaluate the policy of any method, acting in the environment it was trained for.

python scripts/evaluate.py --config config.behavior_cloning --dataset hopper-medium-v2 --n_episodes 20
python scripts/evaluate.py --config config.decision --dataset hopper-medium-v2 --target_return 3600 1800
"""

from pathlib import Path

import numpy as np

from trajectory import utils
from trajectory.algorithms.base import find_algorithm
from trajectory.rollouts.recording import NEUTRAL, Recording, loaded_run, make_renderers, prepare_process  # noqa: F401


class Parser(utils.Parser):
    dataset: str = 'halfcheetah-medium-expert-v2'  # dataset the policy was trained on
    config: str = 'config.offline'  # module with the settings


def main(args):
    device = utils.resolve_device(args.device)
    prepare_process(args, device)
    method = find_algorithm(args.algorithm)
    run, epoch = loaded_run(args, method.learns_from_data)
    algorithm = method.load(run, epoch, device)
    if report := algorithm.record_evaluation(args, run):
        print(report)
        return
    name = args.exp_name
    for changes in algorithm.variants(args) or [{}]:
        for setting, value in changes.items():
            setattr(args, setting, value)
        args.exp_name = '/'.join([name, *(f'{setting}{_word(value)}' for setting, value in changes.items())])
        args.generate_exp_name()
        evaluate(args, algorithm, run)


def evaluate(args, algorithm, run):
    """Act to the end of each episode, and print the mean return."""
    agent = algorithm.agent(args)
    with Recording.of_run(args, algorithm, agent, run) as recording:
        renderers = make_renderers(args, recording)
        recording.run('acting')
        for episode, renderer, folder in zip(recording.episodes, renderers, recording.folders, strict=True):
            renderer.render_rollout(Path(folder, 'rollout.mp4'), np.array(episode.states))
    print(recording.report(algorithm.mean_return))


def _word(value) -> str:
    return '-'.join(f'{one:g}' if isinstance(one, float) else str(one) for one in value)


if __name__ == '__main__':
    utils.run(main, Parser, 'evaluate')
