"""Windows of tokens against the reference's, and what the dataset refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.support import golden
from trajectory.datasets.sequence import (
    DiscretizedDataset,
    GoalDataset,
    SequenceDataset,
    discounted_values,
    segment,
    smallest_integer,
)
from trajectory.utils.errors import InputError


def recorded(raw, name='hopper-recorded'):
    return SimpleNamespace(name=name, get_dataset=lambda: raw)


def dataset_of(arrays, kind=DiscretizedDataset, **changes):
    config = arrays['config']
    raw = {name.removeprefix('raw/'): value for name, value in arrays.items() if name.startswith('raw/')}
    settings = {
        'sequence_length': config['sequence_length'],
        'step': config['step'],
        'discount': config['discount'],
        'max_path_length': config['max_path_length'],
        'penalty': config['termination_penalty'],
        **changes,
    }
    return (
        kind(recorded(raw), N=config['N'], **settings)
        if kind is not SequenceDataset
        else kind(recorded(raw), **settings)
    )


@pytest.mark.parametrize('archive', ['dataset_step1', 'dataset_step2'])
def test_transitions_and_windows_are_the_references(archive):
    arrays = golden(archive)
    dataset = dataset_of(arrays)
    np.testing.assert_array_equal(dataset.path_lengths, arrays['path_lengths'])
    np.testing.assert_allclose(dataset.joined_raw, arrays['joined_raw'], atol=1e-6)
    np.testing.assert_allclose(dataset.joined_segmented, arrays['joined_segmented'], atol=1e-6)
    np.testing.assert_array_equal(dataset.termination_flags, arrays['termination_flags'])
    np.testing.assert_array_equal(dataset.indices, arrays['indices'])
    np.testing.assert_allclose(dataset.discretizer.thresholds, arrays['thresholds'], atol=1e-6)

    X, Y, mask = dataset.gather(torch.tensor(arrays['item_index']))
    for found, expected in ((X, 'X'), (Y, 'Y'), (mask, 'mask')):
        np.testing.assert_array_equal(found, arrays[expected])
    for row, index in enumerate(arrays['item_index']):
        for found, expected in zip(dataset[index], ('X', 'Y', 'mask'), strict=True):
            np.testing.assert_array_equal(found, arrays[expected][row])


def test_a_window_in_numbers_is_the_window_of_the_segments():
    arrays = golden('dataset_step2')
    dataset = dataset_of(arrays, SequenceDataset)
    for index in range(0, len(dataset), 7):
        path, start, end = dataset.indices[index]
        np.testing.assert_allclose(dataset[index], dataset.joined_segmented[path, start:end:2])


def test_a_value_is_what_comes_after_and_stops_at_the_episodes_end():
    values = discounted_values(np.array([1.0, 2, 4, 100, 3]), np.array([3, 2]), 0.5)
    np.testing.assert_allclose(values, [2 + 0.5 * 4, 4, 0, 3, 0])


def test_the_goal_is_the_last_observation_of_the_episode():
    dataset = dataset_of(golden('dataset_step1'), GoalDataset)
    ends = np.cumsum(dataset.path_lengths) - 1
    tokens = dataset.discretizer.discretize(dataset.joined_raw)
    indices = torch.arange(0, len(dataset), 5)
    X, goal, Y, mask = dataset.gather(indices)
    np.testing.assert_array_equal(goal, tokens[ends[dataset.indices[indices, 0]], :3])
    assert X.shape == Y.shape == mask.shape == (len(indices), 34)
    np.testing.assert_array_equal(dataset[0][1], goal[0])


def test_segments_end_where_the_data_is_cut_off():
    steps = np.arange(5.0)[:, None]
    segmented, past, lengths = segment(steps, np.array([0, 1, 0, 0, 0])[:, None], 4)
    np.testing.assert_array_equal(lengths, [2, 3])
    np.testing.assert_array_equal(segmented[:, :, 0], [[0, 1, 0, 0], [2, 3, 4, 0]])
    np.testing.assert_array_equal(past, [[False, False, True, True], [False, False, False, True]])


def test_an_episode_longer_than_admitted_is_named():
    arrays = golden('dataset_step1')
    longest = arrays['path_lengths'].max()
    with pytest.raises(InputError, match=f'has {longest} steps, more than max_path_length = 9.*\n.*None'):
        dataset_of(arrays, max_path_length=9)
    assert dataset_of(arrays, max_path_length=None).max_path_length == longest


def test_episodes_that_are_all_shorter_than_a_window_are_refused():
    with pytest.raises(InputError, match=r'the longest of 7 episodes has \d+ steps, fewer than a window of 900'):
        dataset_of(golden('dataset_step1'), sequence_length=900, step=1)


def test_episodes_of_one_step_have_no_windows():
    arrays = golden('dataset_step1')
    arrays['raw/timeouts'] = np.ones_like(arrays['raw/timeouts'])
    with pytest.raises(InputError, match=r'each of the \d+ episodes ends at its first step'):
        dataset_of(arrays, sequence_length=1, step=1)


def test_tokens_are_kept_in_the_smallest_integers():
    assert dataset_of(golden('dataset_step1')).tokens.dtype == torch.uint8
    assert [smallest_integer(n) for n in (255, 256, 40_000)] == [np.uint8, np.int16, np.int32]


@pytest.mark.parametrize('kind', [DiscretizedDataset, GoalDataset])
def test_windows_from_disk_are_the_same_and_leave_no_file(kind, tmp_path):
    in_memory, on_disk = (dataset_of(golden('dataset_step1'), kind) for _ in range(2))
    on_disk.keep_on_disk(tmp_path / 'run')
    indices = torch.arange(len(in_memory)).flip(0)
    for found, expected in zip(on_disk.gather(indices), in_memory.gather(indices), strict=True):
        assert torch.equal(found, expected)
    assert on_disk.fingerprint() == in_memory.fingerprint()
    np.testing.assert_array_equal(on_disk.joined_segmented, in_memory.joined_segmented)
    assert not list((tmp_path / 'run').iterdir())


@pytest.mark.parametrize('archive', ['dataset_step1', 'dataset_step2'])
def test_targets_are_counted_without_being_gathered(archive):
    dataset = dataset_of(golden(archive))
    indices = torch.arange(len(dataset))
    for batch in indices.split(5):
        assert dataset.count_targets(batch) == int((dataset.gather(batch)[1] != dataset.N).sum())


def test_episodes_are_held_out_whole():
    dataset = dataset_of(golden('dataset_step1'))
    learned, held_out = dataset.split(0.3, seed=0)
    assert sorted(torch.cat([learned, held_out]).tolist()) == list(range(len(dataset)))
    paths, held_out_paths = (set(dataset.indices[windows, 0].tolist()) for windows in (learned, held_out))
    assert not paths & held_out_paths
    assert len(held_out_paths) == round(0.3 * (dataset.path_lengths > 1).sum())
    assert not torch.equal(dataset.split(0.3, seed=1)[1], held_out)
    assert len(dataset.split(0.0, seed=0)[1]) == 0
    assert len(dataset.split(1.0, seed=0)[0]) > 0


def test_other_data_has_another_fingerprint():
    arrays = golden('dataset_step1')
    assert dataset_of(arrays).fingerprint() == dataset_of(arrays).fingerprint()
    assert dataset_of(arrays).fingerprint() != dataset_of(arrays, penalty=-1).fingerprint()
