"""Attention in blocks against the textbook's, forward and backward, with the same weights dropped."""

import pytest
import torch

from trajectory.models.attention import Dropout, attend, dropout_mask, make_attention_blocks


def visible_tokens(n_tokens, dim, n_goal=0):
    visible = torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()
    visible[:, n_goal + dim - 1 :: dim] = False
    visible[:, :n_goal] = True
    return visible


def plainly(qkv, visible, marks, share_kept):
    """The four lines of the textbook.    marks : [ B x H x T x T ]  true where a weight is kept"""
    q, k, v = qkv.transpose(1, 3).unbind(dim=2)
    weights = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~visible, float('-inf')).softmax(dim=-1)
    return (weights * marks / share_kept @ v).transpose(1, 2)


def drawn_marks(visible, rows_per_block, n_rows, p):
    """What `attend` drops, drawn again in its order and put in the textbook's places."""
    marks = torch.ones(n_rows, *visible.shape)
    plan = make_attention_blocks(visible, rows_per_block)
    for block in plan.blocks:
        size = block.rows.stop - block.rows.start
        drawn, share_kept = dropout_mask(torch.empty(n_rows, size, block.n_keys), p)
        marks[:, block.rows, plan.keys[: block.n_keys]] = (drawn > 0).float()
    return marks, share_kept


@pytest.mark.parametrize('n_goal', [0, 3])
@pytest.mark.parametrize(('n_tokens', 'rows_per_block'), [(29, 7), (29, 6), (29, 50), (5, 50), (1, 50)])
@pytest.mark.parametrize('p', [0.1, 0.4])
def test_blocks_give_what_the_textbook_gives(n_goal, n_tokens, rows_per_block, p):
    torch.manual_seed(0)
    visible = visible_tokens(n_tokens, 6, n_goal)
    qkv = torch.randn(3, n_tokens, 3, 2, 4, requires_grad=True)
    upstream = torch.randn(3, n_tokens, 2, 4)
    torch.manual_seed(1)
    marks, share_kept = drawn_marks(visible, rows_per_block, 6, p)
    marks = marks.unflatten(0, (3, 2))
    torch.manual_seed(1)
    found = attend(qkv, make_attention_blocks(visible, rows_per_block), p)
    expected = plainly(qkv, visible, marks, share_kept)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(out, qkv, upstream)[0] for out in (found, expected)))


@pytest.mark.parametrize('p', [0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_asked_for_and_the_rest_make_up_for_it(p):
    torch.manual_seed(0)
    x = torch.ones(1000, 1001, requires_grad=True)  # no multiple of the four marks in a random number
    y = Dropout(p)(x)
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.002)
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    assert len(y.unique()) == 2
    y.sum().backward()
    torch.testing.assert_close(x.grad, y)
    assert not torch.equal(Dropout(p)(x), y)


def test_nothing_is_dropped_outside_of_training():
    x = torch.randn(5, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert (Dropout(1.0)(x) == 0).all()


def test_keys_that_nobody_sees_do_not_exist():
    plan = make_attention_blocks(visible_tokens(29, 6), rows_per_block=12)
    assert plan.keys.tolist() == [t for t in range(29) if t % 6 != 5]
    assert [block.n_keys for block in plan.blocks] == [10, 20, 25]
