"""Batches: every item once an epoch, in another order each time, the same after a resume."""

import torch

from trajectory.training.batches import ShuffledBatches


def test_every_item_comes_once_an_epoch_in_another_order():
    batches = ShuffledBatches(10, 4, seed=0)
    epochs = [torch.cat([batches.next_batch() for _ in range(batches.per_epoch)]).tolist() for _ in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    again = ShuffledBatches(10, 4, seed=0)
    assert [len(again.next_batch()) for _ in range(3)] == [4, 4, 2]


def test_a_resumed_run_goes_on_with_the_same_batches():
    for n_before in range(8):
        batches = ShuffledBatches(10, 4, seed=0)
        for _ in range(n_before):
            batches.next_batch()
        state = batches.state_dict()
        expected = [batches.next_batch().tolist() for _ in range(7)]
        again = ShuffledBatches(10, 4, seed=5)
        again.load_state_dict(state)
        assert [again.next_batch().tolist() for _ in range(7)] == expected
