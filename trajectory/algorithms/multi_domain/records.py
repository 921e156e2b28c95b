"""What a multi-domain run leaves in its folder: its recipe, its weights, its scores over time, its evaluations."""

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from trajectory.algorithms.multi_domain.evaluation import SuiteEvaluator, mean_scores
from trajectory.algorithms.multi_domain.finetuning import FINETUNING, add_modulators, find_finetuning
from trajectory.algorithms.multi_domain.metrics import forgetting, interquartile_mean
from trajectory.algorithms.multi_domain.policy import Policy
from trajectory.environments.suites.registry import TASKS, expand_tasks
from trajectory.models.multi_domain import MultiDomainTransformer
from trajectory.models.tokens import ActionTokens
from trajectory.rollouts.recording import NEUTRAL, PLACES, closing_on_error
from trajectory.storage.limits import RESTORE, check_record
from trajectory.storage.run_folder import clear_plan, hash_model, hash_recipe, identity_of, lock_folder
from trajectory.storage.weights import build_with_weights, pick_epoch, read_weights
from trajectory.utils.errors import InputError
from trajectory.utils.files import read_json, write_json
from trajectory.utils.video import save_video

MODEL = {  # of a `MultiDomainTransformer`: type, least, most
    'state_dim': (int, 1, 10_000),
    'act_dim': (int, 1, 1_000),
    'bins': (int, 2, 2**15),
    'hidden_size': (int, 1, 2**14),
    'n_layer': (int, 1, 1_000),
    'n_head': (int, 1, 1_000),
    'max_ep_len': (int, 1, 10**6),
    'dropout': (float, 0, 1),
}
RECIPE = {'context': (int, 1, 10_000), 'midpoints': (bool,), 'hides_actions': (bool,)}
ADDED = {'n_keys': (int, 1, 10_000), 'n_pretrain_keys': (int, 0, 10_000), 'n_tasks': (int, 1, 10_000)}
FRAMES_PER_SECOND = 40
ASIDE = {*NEUTRAL, *PLACES, 'tasks'}  # settings that do not tell results apart


def write_recipe(folder: Path, recipe: dict, statistics) -> None:
    """Write what acting needs beside the weights."""
    mean, std = statistics
    write_json(folder / 'model_config.json', {**recipe, 'state_mean': mean.tolist(), 'state_std': std.tolist()})
    write_json(
        folder / 'source.json',
        {'environment': ', '.join(recipe['tasks']), 'physics': 'stock', 'data_source': 'hand-written policies'},
    )


def load_policy(folder: Path, epoch, device) -> tuple[Policy, dict]:
    """The policy of a run, and its recipe."""
    path = folder / 'model_config.json'
    if not folder.is_dir():
        raise InputError(
            f'there is no run in {folder}.\n  Pre-train one: python scripts/train.py --config config.continual'
        )
    recipe = read_json(path)
    _check_recipe(recipe, path)
    _, weights_path = pick_epoch(folder, epoch)
    weights = read_weights(weights_path)
    parts = {
        part: {name.removeprefix(f'{part}.'): value for name, value in weights.items() if name.startswith(f'{part}.')}
        for part in ('model', 'added')
    }
    model = build_with_weights(lambda: MultiDomainTransformer(**recipe['model']), parts['model'], weights_path)
    statistics = torch.tensor(recipe['state_mean']), torch.tensor(recipe['state_std'])
    tokens = ActionTokens(recipe['model']['bins'], midpoints=recipe['midpoints'])
    policy = Policy(model.to(device), tokens, statistics, recipe['context'], hides_actions=recipe['hides_actions'])
    if recipe['finetuning'] is not None:
        method = find_finetuning(recipe['finetuning'])
        if not method.learns and hash_model(model.state_dict()) != recipe['base']:
            raise InputError(f'{weights_path} holds modulators of another base than the one beside them.\n  {RESTORE}')
        add_modulators(policy, method, **recipe['added'])
        _load_added(policy, parts['added'], weights_path, device)
    return policy, recipe


def _load_added(policy, weights, path, device):
    added = policy.added
    expected = added.state_dict()
    if {name: value.shape for name, value in weights.items()} != {name: v.shape for name, v in expected.items()}:
        raise InputError(f'{path} does not fit the recipe beside it: its modulators are others.\n  {RESTORE}')
    added.load_state_dict({name: value.to(expected[name].dtype) for name, value in weights.items()})
    added.to(device)


def _check_recipe(recipe, path):
    check_record(recipe, RECIPE, path)
    check_record(recipe.get('model'), MODEL, path)
    width = recipe['model']['state_dim']
    check_record(recipe, {'state_mean': (list, width, width), 'state_std': (list, width, width)}, path)
    if recipe.get('finetuning') is not None:
        check_record(recipe, {'finetuning': (tuple(FINETUNING),), 'base': (str,)}, path)
        check_record(recipe.get('added'), ADDED, path)
    tasks, targets = recipe.get('tasks'), recipe.get('targets')
    known = isinstance(tasks, list) and tasks and all(isinstance(name, str) and name in TASKS for name in tasks)
    if (
        not known
        or not isinstance(targets, dict)
        or any(not isinstance(targets.get(name), list) or len(targets[name]) != 2 for name in tasks)
    ):
        raise InputError(f'{path} names no tasks of the suites, or not their targets.\n  {RESTORE}')
    check_record(targets, {name: (list, 2, 2) for name in tasks}, path)


def summarize(history: list[dict], sequence: list[str]) -> dict:
    """Scores over time, and what became of them.

    history  : of each evaluation: update, present task, and numbers of every task that was evaluated
    sequence : the tasks that are learned, in order
    """
    scores = np.array([[one['tasks'][name]['score'] for name in sequence] for one in history])
    current = np.array([one['current'] for one in history])
    lost, mean = forgetting(scores, current)
    others = [name for name in history[0]['tasks'] if name not in sequence]

    def plain(values):
        return [None if np.isnan(value) else float(value) for value in values]

    return {
        'sequence': sequence,
        'others': others,
        'evaluations': history,
        'forgetting': [plain(row) for row in lost],
        'mean_forgetting': plain(mean),
        'average': scores.mean(1).tolist(),
        'interquartile_mean': [interquartile_mean(row) for row in scores],
        'others_average': [float(np.mean([one['tasks'][name]['score'] for name in others])) for one in history]
        if others
        else [],
    }


def record_episodes(method, args, run: Path) -> str:
    """Act in tasks, and record every episode; an experiment for each task.

    method : a `MultiDomain`    args : parsed settings of `evaluate`    run : folder it was loaded from
    returns : what the script prints
    """
    tasks = expand_tasks(args.tasks or method.recipe['tasks'])
    for task in tasks:
        if task.name not in method.recipe['targets']:
            raise InputError(
                f'{run} knows no target of {task.name}; it learned {", ".join(method.recipe["targets"])}.\n'
                '  Evaluate those.'
            )
    method.policy.is_on = args.modulators
    targets, scales = zip(*(method.recipe['targets'][task.name] for task in tasks), strict=True)
    evaluator = SuiteEvaluator(tasks, targets, scales)
    name, facts = args.exp_name, _facts(method, args, run)
    with ExitStack() as owned, closing_on_error(owned):
        owned.callback(evaluator.close)
        episodes = evaluator.evaluate(method.policy, args.n_episodes, args.seed)
        for task in tasks:
            args.exp_name = f'{name}/{task.name}'
            args.generate_exp_name()
            for k, episode in enumerate(one for one in episodes if one.task == task.name):
                folder = owned.enter_context(lock_folder(args.resolve(k)['savepath']))
                clear_plan(folder)
                args.prepare_folder(repetition=k)
                rollout = {**asdict(episode), 'return': episode.total, 'step': episode.steps, 'environment': task.name}
                write_json(folder / 'rollout.json', {**facts, **rollout})
                if k < args.n_videos:
                    frames = evaluator.film(method.policy, tasks.index(task), episode.seed)
                    save_video(folder / 'rollout.mp4', frames, fps=FRAMES_PER_SECOND)
    lines = [
        f'{task:28} score {numbers["score"]:.2f} | success at any step {numbers["any_success"]:.2f} | '
        f'return {numbers["return"]:.0f}'
        for task, numbers in mean_scores(episodes).items()
    ]
    return '\n'.join([*lines, f'n = {args.n_episodes} | results are in {args.savepath.parent.parent}'])


def _facts(method, args, run):
    settings = {name: value for name, value in args.as_dict().items() if name not in ASIDE}
    model = method.identity()
    return {
        'term': False,
        'physics': 'stock',
        'gpt_epoch': method.epoch,
        'dataset': args.dataset,
        'algorithm': args.algorithm,
        'data_source': method.spec().data_source,
        'model': model,
        'identity': identity_of(hash_recipe(run) or model, settings),
    }
