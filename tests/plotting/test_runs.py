"""Whatever lies in the logs is found, and what is wrong with it is said rather than raised."""

import json

import pytest

from plotting.runs import find_runs, last_words
from trajectory.utils.errors import InputError

D4RL_SETTINGS = {'n_epochs': None, 'n_epochs_ref': 50}


def problems_of(logs):
    trainings, episodes = find_runs(logs)
    return {f'{run.dataset}/{run.name}': ' '.join(run.problems) for run in [*trainings, *episodes]}


def test_whole_runs_have_no_problems_and_tell_what_they_are(tmp_path, write_training, write_rollout):
    write_training(tmp_path / 'hopper-medium-v2/gpt/azure')
    for seed in (2, 10):
        write_rollout(tmp_path / f'hopper-medium-v2/plans/defaults/H15/{seed}', seed=seed)
    folder = tmp_path / 'hopper-medium-v2/plans/defaults/H15/2'
    (folder / 'timing.json').write_text('{"seconds_per_step": 0.25}')
    for name in ('rollout.mp4', '100_plan.mp4', '50_plan.mp4'):
        (folder / name).write_bytes(b'film')
    (training,), (second, tenth) = find_runs(tmp_path)
    assert (training.dataset, training.name, training.epochs, training.commit) == (
        'hopper-medium-v2',
        'gpt/azure',
        2,
        '0123456789abcdef',
    )
    assert (training.metrics[-1]['step'], training.heldout_loss) == (40, 2.1)
    assert (second.name, second.exp_name, second.rollout['seed']) == ('plans/defaults/H15/2', 'plans/defaults/H15', 2)
    assert (second.seconds_per_step, second.rollout_video) == (0.25, folder / 'rollout.mp4')
    assert [step for step, _ in second.plan_videos] == [50, 100]
    assert (tenth.name, tenth.is_filmed) == ('plans/defaults/H15/10', False)
    assert not any(problems_of(tmp_path).values())


def test_data_sets_are_named_by_settings_or_by_folders(tmp_path, write_training, write_rollout):
    write_training(tmp_path / 'own/set/runs/a', dataset='own/set')
    write_training(tmp_path / 'copied/gpt/a')
    (tmp_path / 'copied/gpt/a/args.json').unlink()
    write_rollout(tmp_path / 'mujoco/hopper-v0/plans/x/0', reference=True)
    assert set(problems_of(tmp_path)) == {'own/set/runs/a', 'copied/gpt/a', 'mujoco/hopper-v0/plans/x/0'}
    (training,), _ = find_runs(tmp_path / 'copied')
    assert (training.dataset, training.name) == ('copied', 'gpt/a')


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (lambda folder: (folder / 'state_2.pt').unlink(), 'No weights: training failed'),
        (
            lambda folder: (folder / 'state_2.pt').rename(folder / 'state_1.pt'),
            'the newest weights are of epoch 1 of 2',
        ),
        (lambda folder: (folder / 'model_config.json').unlink(), 'the weights cannot be loaded'),
        (lambda folder: (folder / 'args.json').write_text('{"dataset": "hop'), 'args.json is not valid JSON'),
        (lambda folder: (folder / 'args.json').write_text('[]'), 'args.json holds a list, expected an object'),
        (lambda folder: (folder / 'metrics.jsonl').write_text('7\n'), 'has no number for epoch, step'),
        (lambda folder: [path.unlink() for path in folder.iterdir()], 'The folder is empty'),
    ],
)
def test_a_broken_training_run_says_what_is_wrong(tmp_path, write_training, change, problem):
    write_training(tmp_path / 'hopper-medium-v2/gpt/whole')
    write_training(tmp_path / 'hopper-medium-v2/gpt/broken')
    change(tmp_path / 'hopper-medium-v2/gpt/broken')
    found = problems_of(tmp_path)
    assert problem in found['hopper-medium-v2/gpt/broken']
    assert not found['hopper-medium-v2/gpt/whole']


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (lambda folder: (folder / 'rollout.json').rename(folder / 'args.json'), 'No rollout.json'),
        (lambda folder: (folder / 'rollout.json').write_text('{"score": 0.5}'), 'lacks return, step'),
        (lambda folder: (folder / 'timing.json').write_text('nothing'), 'timing.json is not valid JSON'),
        (lambda folder: (folder / 'rollout.json').unlink(), 'The folder is empty'),
    ],
)
def test_a_broken_plan_says_what_is_wrong(tmp_path, write_rollout, change, problem):
    write_rollout(tmp_path / 'hopper-medium-v2/plans/x/0')
    write_rollout(tmp_path / 'hopper-medium-v2/plans/x/1')
    change(tmp_path / 'hopper-medium-v2/plans/x/1')
    found = problems_of(tmp_path)
    assert problem in found['hopper-medium-v2/plans/x/1']
    assert not found['hopper-medium-v2/plans/x/0']


def test_where_the_settings_leave_the_epochs_open_they_are_worked_out_as_training_does(tmp_path, write_training):
    folder = tmp_path / 'hopper-medium-v2/gpt/azure'
    write_training(folder, **{**D4RL_SETTINGS, 'n_epochs': 2})
    (folder / 'args.json').write_text(json.dumps(D4RL_SETTINGS))
    (folder / 'model_config.json').write_text('{"settings": {"block_size": 100}}')
    for windows, epochs in ((1_000_000, 50), (25_000_000, 2)):
        (folder / 'trainer_config.json').write_text(json.dumps({'settings': {'warmup_tokens': 100 * windows}}))
        (problem,) = problems_of(tmp_path).values()
        assert problem == ('Unfinished: the newest weights are of epoch 2 of 50.' if epochs == 50 else '')


@pytest.mark.parametrize(
    ('log', 'words'),
    [
        (
            '$ python scripts/train.py\ntrain: 1/2\rtrain.py: error: the loss is nan.\n  Lower --learning_rate.\nbye\n',
            'the loss is nan.\n  Lower --learning_rate.',
        ),
        ('$ python scripts/train.py\nTraceback (most recent call last):\n  File "x.py"\nKeyError: 3\n', 'KeyError: 3'),
        ('$ python scripts/train.py\ntrain.py: error: no data.\n\n$ python scripts/train.py\ndone\n', ''),
        ('', ''),
    ],
)
def test_the_error_of_the_newest_attempt_is_read_from_a_sweeps_log(tmp_path, log, words):
    (tmp_path / 'sweep.log').write_text(log, newline='')
    assert last_words(tmp_path / 'sweep.log') == words


def test_a_run_that_was_refused_at_the_door_is_a_failure_with_its_reason(tmp_path):
    folder = tmp_path / 'hopper-medium-v2/gpt/refused'
    folder.mkdir(parents=True)
    (folder / 'sweep.log').write_text('$ python scripts/train.py\ntrain.py: error: N must be at least 1.\n')
    assert problems_of(tmp_path) == {'hopper-medium-v2/gpt/refused': 'N must be at least 1.'}


@pytest.mark.parametrize('inside', ['.', 'logs', 'logs/collect'])
def test_logs_without_a_run_are_one_error(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    with pytest.raises(InputError, match=r'found no run in .*logs(, which is not a folder)?\.\n  Pass the folder'):
        find_runs(tmp_path / 'logs')


def test_what_is_no_run_is_passed_over(tmp_path, write_training):
    write_training(tmp_path / 'hopper-medium-v2/gpt/azure')
    for other in ('collect/hopper-seed0/agent.zip', 'hopper-medium-v2/gpt/azure/tensorboard/events', 'notes.txt'):
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_text('')
    assert list(problems_of(tmp_path)) == ['hopper-medium-v2/gpt/azure']


def test_files_that_are_being_written_or_lead_nowhere_are_passed_over(tmp_path, write_rollout):
    folder = tmp_path / 'hopper-medium-v2/plans/x/0'
    write_rollout(folder)
    (folder / '.0123abcd.rollout.mp4').symlink_to(folder / 'gone')
    (folder / 'rollout.mp4').symlink_to(folder / 'gone')
    assert not any(problems_of(tmp_path).values())
    assert find_runs(tmp_path)[1][0].rollout_video is None
