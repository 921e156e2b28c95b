"""Settings of a search: checked when they are made, read from flags, and fitted to a model."""

from dataclasses import FrozenInstanceError, asdict
from types import SimpleNamespace

import pytest

from config.offline import Plan
from tests.models.test_transformers import TINY
from tests.support import make_gpt
from trajectory.search.settings import SearchSettings
from trajectory.utils.errors import InputError


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'horizon': 0}, 'horizon must be at least 1, got 0'),
        ({'horizon': 10**20}, 'horizon must be at most 10000, got 1'),
        ({'beam_width': 0}, 'beam_width must be at least 1'),
        ({'n_expand': -1}, 'n_expand must be at least 1'),
        ({'plan_freq': 4, 'horizon': 3}, 'a plan of 3 transitions cannot be followed for 4 steps'),
        ({'discount': 1.5}, 'discount must be from 0 to 1'),
        ({'percentile': 2}, 'percentile must be from 0 to 1'),
        ({'objective': 'reward'}, 'objective must be one of value, likelihood'),
        ({'cdf_act': -0.1}, 'cdf_act must be from 0 to 1'),
        ({'temperature': 0.0}, 'temperature'),
        ({'max_context_transitions': 0}, 'max_context_transitions must be at least 1'),
    ],
)
def test_what_no_search_can_be_told_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        SearchSettings(**changes)


def test_they_cannot_be_changed_once_checked():
    with pytest.raises(FrozenInstanceError):
        SearchSettings().horizon = 0


def test_flags_become_settings_and_the_discount_is_the_models_own_unless_given():
    args = SimpleNamespace(**asdict(Plan()))
    assert SearchSettings.from_args(args, discount=0.9).discount == 0.9
    args.discount, args.k_act = 0.5, 7
    settings = SearchSettings.from_args(args, discount=0.9)
    assert (settings.discount, settings.k_act, settings.horizon) == (0.5, 7, 15)


def test_a_context_is_what_is_asked_for_and_at_most_the_block():
    model = make_gpt(TINY)  # a block of 29 tokens, transitions of 6
    assert SearchSettings(max_context_transitions=2).fit(model) == 11
    assert SearchSettings(max_context_transitions=99).fit(model) == SearchSettings().fit(model) == 29
    with pytest.raises(InputError, match='does not hold the transition of 6'):
        SearchSettings(max_context_transitions=1).fit(model)
    assert SearchSettings(max_context_transitions=1, horizon=1).fit(model) == 5


def test_more_tokens_than_there_are_cannot_be_chosen_from():
    with pytest.raises(InputError, match='k_act must be between 1 and the'):
        SearchSettings(k_act=100).fit(make_gpt(TINY))
