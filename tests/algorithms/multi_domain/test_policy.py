"""A policy normalizes states into its slots and chooses modulators."""

import numpy as np
import torch

from trajectory.algorithms.multi_domain.finetuning import add_modulators, find_finetuning
from trajectory.algorithms.multi_domain.policy import Policy
from trajectory.models.multi_domain import MultiDomainTransformer
from trajectory.models.tokens import ActionTokens


def make_policy(**options):
    return Policy(MultiDomainTransformer(5, 2, 8, 16, 1, 2), ActionTokens(8), (torch.ones(5), torch.full((5,), 2.0)),
                  **{'context': 3, **options})  # fmt: skip


def test_narrower_observations_fill_the_first_slots():
    normal = make_policy().normalize(np.array([[3.0, 5.0]], dtype=np.float32))
    assert normal.tolist() == [[1, 2, -0.5, -0.5, -0.5]]


def test_without_modulators_nothing_is_chosen():
    policy = make_policy()
    assert policy.modulator is None
    assert policy.choose(torch.zeros(2, 16)) is None
    assert not len(policy.added)


def test_an_oracle_is_told_the_task_and_switched_off_there_is_none():
    policy = make_policy()
    add_modulators(policy, find_finetuning('l2m_oracle'), 6, 0, 3)
    ids = policy.choose(torch.randn(4, 16), [0, 2, 1, 2])
    assert (ids // 2).tolist() == [0, 2, 1, 2]
    policy.is_on = False
    assert policy.choose(torch.randn(4, 16)) is None
    assert policy.modulator is None


def test_actions_are_hidden_where_the_policy_hides_them():
    assert make_policy().hidden_past(2, 10) is None
    hidden = make_policy(hides_actions=True).hidden_past(2, 13)
    assert hidden.shape == (2, 13, 13)
    assert hidden[0, 12].tolist() == 2 * [False, False, True, True, True] + 3 * [False]
