"""Contexts against the reference's, and the actions of a plan."""

import numpy as np
import pytest
import torch

from tests.support import golden
from trajectory.datasets.discretization import QuantileDiscretizer
from trajectory.search.utils import extract_actions, make_prefix, update_context


@pytest.fixture(scope='module')
def reference():
    arrays = golden('context')
    return arrays, QuantileDiscretizer(arrays['discretizer_data'], int(arrays['N']))


def contexts_of(arrays, discretizer, max_context_transitions):
    """The context before each of the six steps, and after the last."""
    contexts = [[]]
    for observation, action, reward in zip(arrays['observations'], arrays['actions'], arrays['rewards'], strict=True):
        contexts.append(update_context(contexts[-1], discretizer, observation, action, reward, max_context_transitions))
    return contexts


def test_contexts_and_prefixes_are_the_references(reference):
    arrays, discretizer = reference
    contexts = contexts_of(arrays, discretizer, int(arrays['max_context_transitions']))
    for step, observation in enumerate(arrays['observations']):
        np.testing.assert_array_equal(make_prefix(discretizer, contexts[step], observation), arrays[f'prefix{step}'])
    np.testing.assert_array_equal(torch.stack(contexts[-1])[..., :-1], arrays['final_context'][..., :-1])


def test_a_context_without_limit_keeps_everything(reference):
    arrays, discretizer = reference
    unlimited = contexts_of(arrays, discretizer, None)
    assert [len(context) for context in unlimited] == list(range(7))
    limited = contexts_of(arrays, discretizer, 3)
    for few, all_ in zip(limited, unlimited, strict=True):
        assert len(few) == min(3, len(all_))
        assert all(torch.equal(*pair) for pair in zip(few, all_[-3:], strict=True))


def test_a_context_given_stays_as_it_is(reference):
    arrays, discretizer = reference
    context = contexts_of(arrays, discretizer, 3)[3]
    before = list(context)
    update_context(context, discretizer, arrays['observations'][0], arrays['actions'][0], 0.0, 3)
    assert all(now is then for now, then in zip(context, before, strict=True))
    assert len(context) == len(before)


def test_a_plan_from_the_observation_alone_knows_no_context(reference):
    arrays, discretizer = reference
    context = contexts_of(arrays, discretizer, 3)[4]
    present = make_prefix(discretizer, context, arrays['observations'][4], prefix_context=False)
    np.testing.assert_array_equal(present, arrays['prefix4'][:, -3:])


def test_actions_lie_behind_the_observation():
    plan = np.arange(21).reshape(3, 7)
    np.testing.assert_array_equal(extract_actions(plan, 3, 2), [[3, 4], [10, 11], [17, 18]])
    np.testing.assert_array_equal(extract_actions(plan, 3, 2, t=1), [10, 11])


def test_transitions_of_another_width_are_refused():
    with pytest.raises(ValueError, match='expected transitions of 8 numbers, got 7; was the model trained on another'):
        extract_actions(np.zeros((3, 7)), 4, 2)
