"""The picture and the paragraph that say whether a model is good enough to plan with."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread

from plotting.calibration import Calibration, calibrate, describe, main
from trajectory.rollouts.candidates import Ranking

RUN = Path(__file__).parents[2] / 'data/hopper-mixed-ppo/gpt/bundled'


def test_a_run_is_measured_and_drawn(tmp_path, capsys):
    main([str(RUN), '--savepath', str(tmp_path / 'x.png'), '--n_windows', '40', '--n_states', '5', '--n_actions', '4',
          '--n_ranked', '2', '--n_candidates', '4', '--horizons', '1', '3', '--follow', '3'])  # fmt: skip
    said = capsys.readouterr().out
    assert 'Of 40 training (nothing was held out) transitions' in said
    assert 'Horizon 3: ' in said
    assert 'Stop tokens have a probability of ' in said
    assert said.endswith(f'wrote {tmp_path}/x.png\n')
    assert np.ptp(imread(tmp_path / 'x.png')[..., :3]) > 0.5


def test_a_q_function_is_measured_in_its_place():
    sizes = {'n_windows': 64, 'n_states': 10, 'n_actions': 8, 'horizons': [1], 'n_ranked': 2, 'n_candidates': 4,
             'follow': 3}  # fmt: skip
    values, q = calibrate(RUN, **sizes), calibrate(RUN, q_run=RUN.parents[1] / 'iql/bundled', **sizes)
    np.testing.assert_array_equal(values.recorded, q.recorded)
    np.testing.assert_array_equal(values.rankings[0].realized, q.rankings[0].realized)
    assert not np.allclose(values.rankings[0].predicted, q.rankings[0].predicted)
    assert np.corrcoef(q.predicted, q.recorded)[0, 1] > 0.5
    assert 0.2 < q.predicted.std() / q.recorded.std() < 5  # in units of the data's rewards
    assert q.gap > 0
    assert (values.is_of_q, q.is_of_q) == (False, True)


def found(realized):
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(20, 8))
    q = rng.normal(size=50)
    ranking = Ranking(5, predicted, realized(predicted, rng))
    layout = SimpleNamespace(observation_dim=2, action_dim=1)
    return Calibration(q, q + 1, rng.normal(size=(3, 4)), np.ones(5), 0.0, [ranking], layout, True)


def test_it_says_whether_choosing_pays():
    assert 'pays at horizon 5' in describe(found(lambda predicted, rng: predicted + rng.normal(size=predicted.shape)))
    told = describe(found(lambda predicted, rng: rng.normal(size=predicted.shape)))
    assert 'At no horizon' in told
    assert 'error (RMSE) of 1.0' in told
    of_q = describe(replace(found(lambda predicted, rng: rng.normal(size=predicted.shape)), is_of_q=True))
    assert 'compare whole episodes, planned with --q_loadpath and without' in of_q


def test_candidates_that_do_not_differ_are_not_ranked_and_one_state_decides_nothing():
    even = found(lambda predicted, rng: np.ones_like(predicted))  # noqa: ARG005
    assert 'not defined, as no candidates differ' in describe(even)
    (ranking,) = found(lambda predicted, rng: predicted).rankings  # noqa: ARG005
    alone = replace(even, rankings=[Ranking(5, ranking.predicted[:1], ranking.realized[:1])])
    assert 'At no horizon' in describe(alone)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (('--n_candidates', '1'), 'n_candidates must be at least 2'),
        (('--n_states', '0'), 'n_states must be at least 1'),
        (('--follow', '-1'), 'follow must be at least 0'),
    ],
)
def test_settings_out_of_range_are_refused(capsys, flags, message):
    with pytest.raises(SystemExit):
        main([str(RUN), *flags])
    assert message in capsys.readouterr().err


def test_a_model_of_every_tenth_step_is_refused(tmp_path, capsys):
    shutil.copytree(RUN, tmp_path / 'run')
    recipe = tmp_path / 'run/data_config.json'
    recipe.write_text(recipe.read_text().replace('"step": 1', '"step": 10'))
    with pytest.raises(SystemExit):
        main([str(tmp_path / 'run')])
    assert 'learned from every 10. step' in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert 'error: ' in capsys.readouterr().err
