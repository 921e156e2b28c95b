"""Long predictions through scripts/predict.py: errors, picture and film of the bundled model."""

import json
import sys

import imageio.v3 as imageio
import numpy as np
import pytest

from scripts import predict
from trajectory import utils


def start(*flags):
    given, sys.argv = sys.argv, ['scripts/predict.py', *map(str, flags)]
    try:
        utils.run(predict.main, predict.Parser, experiment=None)
    finally:
        sys.argv = given


def test_errors_grow_and_are_written_drawn_and_filmed(tmp_path, capfd, caplog):
    start('--n_starts', 12, '--n_steps', 20, '--n_epochs', 1, '--savepath', tmp_path / 'x', '--threads', 1)
    found = json.loads((tmp_path / 'x/errors.json').read_text())
    assert found['n'] == 12
    assert found['held_out'] is False
    assert set(found['quartiles']) == {'Trajectory Transformer', 'one-step ensemble'}
    for quartiles in found['quartiles'].values():
        low, median, high = np.array(quartiles)
        assert len(median) == 20
        assert ((low <= median) & (median <= high)).all()
        assert median[0] < median[-1] < 2  # far better than no prediction
    assert imageio.imread(tmp_path / 'x/prediction.png').shape[-1] in (3, 4)
    film = imageio.imread(tmp_path / 'x/prediction_0.mp4')
    assert film.shape[0] == 21
    assert film.shape[2] == 3 * 256
    assert 'times closer' in capfd.readouterr().out
    assert 'held no episodes out' in caplog.text


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--n_starts', '0'], 'n_starts must be at least 1'),
        (['--n_steps', '5000'], 'Pass a smaller --n_steps'),
        (['--gpt_loadpath', 'gpt/none'], 'there is no run in'),
        (['--gpt_epoch', '99'], 'holds no state_99.pt'),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, capfd, flags, message):
    with pytest.raises(SystemExit):
        start('--savepath', tmp_path / 'x', *flags)
    assert message in capfd.readouterr().err
    assert not (tmp_path / 'x').exists()
