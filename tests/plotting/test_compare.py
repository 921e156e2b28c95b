"""Plans beside the data they were learned from, and what cannot be compared."""

import json

import pytest

from plotting.compare import compare, main
from trajectory.utils.errors import InputError

SOURCE = {
    'environment': 'Hopper-v4',
    'physics': 'd4rl',
    'data_source': 'mine',
    'episodes': 25,
    'mean_return': 900.0,
    'best_tenth_return': 2000.0,
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / 'source.json').write_text(json.dumps(SOURCE))
    return tmp_path


def test_data_and_plans_stand_in_one_table(run, write_rollout):
    for seed, total in enumerate((1000.0, 1200.0)):
        write_rollout(run / f'plans/{seed}', return_=total)
    rows = compare(run, [run / 'plans']).splitlines()
    assert [row.split()[-2:] for row in rows[1:3]] == [['900', '25'], ['2000', '2']]
    assert rows[3].endswith('plans  1100 ± 100   2')
    assert rows[4] == 'Hopper-v4, d4rl physics; learned from mine'


def test_a_folder_without_plans_is_named(run, capsys):
    with pytest.raises(SystemExit, match='2'):
        main([str(run), str(run / 'absent')])
    assert 'absent holds no rollout.json.\n  Plan first' in capsys.readouterr().err


@pytest.mark.parametrize('content', ['{}', '[]', json.dumps({**SOURCE, 'episodes': 'many'})])
def test_a_source_that_says_too_little_is_named(run, content):
    (run / 'source.json').write_text(content)
    with pytest.raises(InputError, match=r'source.json (says nothing of .*physics|has no number for episodes)'):
        compare(run, [run])
