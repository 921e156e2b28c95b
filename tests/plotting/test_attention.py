"""What a model attends to, as maps and as numbers that are known for attention made by hand."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from plotting.attention import Attention, describe, main, measure_attention
from trajectory.utils.layout import TransitionLayout

RUN = Path(__file__).parents[2] / 'data/hopper-mixed-ppo/gpt/bundled'
LAYOUT = TransitionLayout(2, 1)  # transitions of 5 tokens: o o a r v
N_TOKENS = 14  # of three transitions


def maps_where(place):
    """All attention of each row at one place before it.    place : function of the predicted place"""
    maps = np.zeros((1, 1, N_TOKENS, N_TOKENS))
    for row in range(N_TOKENS):
        maps[0, 0, row, min(row, max(0, place(row + 1)))] = 1
    return Attention(maps, LAYOUT, 1)


def test_recency_and_smoothness_of_attention_to_the_same_column_a_transition_back():
    found = maps_where(lambda predicted: predicted - 5)
    assert found.by_lag()[0, 0].tolist() == [0, 1, 0]
    assert found.recency()[0, 0] == 1
    assert found.same_column()[0, 0] == 1
    assert found.action_to_action()[0, 0] == 1


def test_attention_to_the_column_before_and_to_the_start_is_told_apart():
    before = maps_where(lambda predicted: predicted - 6)  # one column left of that
    assert before.same_column()[0, 0] == 0
    assert before.recency()[0, 0] == pytest.approx(1.2)  # the first column's lies two transitions back
    start = maps_where(lambda predicted: 0)  # noqa: ARG005
    assert start.recency()[0, 0] == 2
    assert start.same_column()[0, 0] == pytest.approx(1 / 3)  # the first of o, o and a
    assert start.action_to_action()[0, 0] == 0


def test_even_attention_is_shared_among_all_that_may_be_seen():
    visible = np.tril(np.ones((N_TOKENS, N_TOKENS)))
    visible[:, 4::5] = 0  # values
    visible[4, 4] = visible[9, 9] = 0
    even = Attention((visible / 7)[None, None], LAYOUT, 1).even()
    np.testing.assert_allclose(even.maps.sum(axis=-1), 1)
    assert even.maps[0, 0, 13, :5].tolist() == pytest.approx([1 / 12] * 4 + [0])


def test_a_run_is_measured_and_drawn(tmp_path, capsys):
    main([str(RUN), '--savepath', str(tmp_path / 'x.png'), '--n_windows', '40'])
    said = capsys.readouterr().out
    assert 'layer 2, head 2' in said
    assert '2 back' in said
    assert np.ptp(imread(tmp_path / 'x.png')[..., :3]) > 0.5
    found = measure_attention(RUN, n_windows=40)
    np.testing.assert_allclose(found.maps.sum(axis=-1), 1, atol=1e-5)
    assert found.maps[:, :, :, found.layout.dim - 1 :: found.layout.dim].max() == 0
    assert describe(found).splitlines()[0].split() == [
        '0',
        'back',
        '1',
        'back',
        '2',
        'back',
        'mean',
        'column',
        'action',
    ]
    assert found.same_column()[0].min() > 3 * found.even().same_column()[0, 0]


def test_what_cannot_be_is_refused(capsys):
    with pytest.raises(SystemExit):
        main([str(RUN), '--n_windows', '0'])
    assert 'n_windows must be at least 1' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['no/such/run'])
    assert 'error' in capsys.readouterr().err
