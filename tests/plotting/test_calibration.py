"""The picture and the paragraph that say whether a model is good enough to plan with."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread

from plotting.calibration import Calibration, describe, main
from trajectory.rollouts.candidates import Ranking

RUN = Path(__file__).parents[2] / 'data/hopper-mixed-ppo/gpt/bundled'


def test_a_run_is_measured_and_drawn(tmp_path, capsys):
    main([str(RUN), '--savepath', str(tmp_path / 'x.png'), '--n_windows', '40', '--n_states', '5', '--n_actions', '4',
          '--n_ranked', '2', '--n_candidates', '4', '--horizons', '1', '3', '--follow', '3'])  # fmt: skip
    said = capsys.readouterr().out
    assert 'Of 40 training (nothing was held out) transitions' in said
    assert 'Horizon 3: ' in said
    assert said.endswith(f'wrote {tmp_path}/x.png\n')
    assert np.ptp(imread(tmp_path / 'x.png')[..., :3]) > 0.5


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


def test_what_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert 'error: ' in capsys.readouterr().err
