"""A comparison summed up: paired differences, and interquartile means whose intervals are those of a bootstrap."""

import numpy as np
import pytest

from plotting.summary import interquartile_mean, interval_of, main
from trajectory.utils.files import write_json

pytest.importorskip('scipy', reason='no SciPy: pip install -e .[results]')


def write(logs, dataset, exp_name, returns, score=lambda value: value / 1000, identity='x'):
    for number, value in enumerate(returns):
        folder = logs / dataset / exp_name / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        record = {'return': value, 'score': score and score(value), 'step': 10, 'term': True, 'gpt_epoch': 1,
                  'seed': 5000 + number, 'environment': 'Hopper-v4', 'physics': 'stock', 'data_source': 'mine',
                  'dataset': dataset, 'identity': identity}  # fmt: skip
        write_json(folder / 'rollout.json', record)


@pytest.fixture
def logs(tmp_path):
    for dataset, shift in (('one', 0.0), ('two', 100.0)):
        write(tmp_path, dataset, 'plans/results/planned', [shift + 500.0 + 10 * k for k in range(8)])
        write(tmp_path, dataset, 'evaluations/results/bc', [shift + 400.0 + 10 * k for k in range(8)])
    return tmp_path


def test_pairs_of_equal_seeds_are_compared_and_the_data_stands_beside_them(logs, capsys):
    (logs / 'one/gpt/results').mkdir(parents=True)
    source = {'environment': 'Hopper-v4', 'physics': 'stock', 'data_source': 'mine', 'mean_return': 267.5}
    write_json(logs / 'one/gpt/results/source.json', source)
    main([str(logs)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "one, the data's mean return 268"
    assert lines[1].split()[:5] == ['planned', '535', '±', '9', 'n']
    assert '2.00 x data' in lines[1]
    assert 'planned is above by 100 ± 0 in 8 pairs' in lines[2]
    assert lines[3] == 'two'
    of_all = [line for line in lines if line.startswith('  bc')][-1]
    assert 'planned is above by 10.0 [' in of_all


def test_an_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 100.0])) == 1.5
    assert interquartile_mean(np.arange(8.0), np.array([1e6] * 4)) == pytest.approx(np.mean([3, 4, 5, 6, 7, 1e6]))


def test_an_interval_is_the_one_that_resampling_within_tasks_gives():
    rng = np.random.default_rng(0)
    tasks = [rng.normal(0, 1, 30), rng.normal(50, 1, 30)]  # drawn across tasks it would be far wider
    value, low, high = interval_of(tasks)
    assert low < value < high
    draws = [interquartile_mean(*(task[rng.integers(30, size=30)] for task in tasks)) for _ in range(3000)]
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), abs=0.8)
    above = interval_of([task + 10 for task in tasks], tasks)
    assert above[1] > 0
    assert above[0] == pytest.approx(10)


def test_one_episode_has_no_interval(tmp_path, capsys):
    write(tmp_path, 'one', 'plans/results/planned', [500.0])
    main([str(tmp_path)])
    assert capsys.readouterr().out.splitlines()[-1].split() == ['planned', '50.0']


def test_arms_without_scores_or_datasets_are_named(logs, capsys):
    write(logs, 'one', 'plans/results/sampled', [1.0, 2.0])
    write(logs, 'two', 'plans/results/sampled', [1.0, 2.0], score=None)
    main([str(logs)])
    assert 'left out, without a score on each dataset: sampled' in capsys.readouterr().out


def test_what_must_not_be_averaged_and_what_is_not_there_is_refused(logs, capsys):
    write(logs, 'one', 'plans/results/deep/planned', [1.0, 2.0], identity='y')
    for flags, message in (
        ([str(logs)], 'must not be averaged'),
        ([str(logs), '--exp_name', 'plans/results/planned', '--against', 'best'], "there is no arm 'best'"),
        ([str(logs), '--exp_name', 'plans/none/*'], 'no experiment'),
    ):
        with pytest.raises(SystemExit):
            main(flags)
        assert message in capsys.readouterr().err
