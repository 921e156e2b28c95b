"""What a search did, as a tree: it is what happened, it changes nothing, and its file is read back or refused."""

import numpy as np
import pytest
import torch

from tests.models.test_transformers import TINY
from tests.support import make_gpt
from trajectory.datasets.discretization import UniformDiscretizer
from trajectory.search import search
from trajectory.search.settings import SearchSettings
from trajectory.search.traces import Searches, SearchTrace
from trajectory.utils.errors import InputError

SETTINGS = SearchSettings(3, 4, 3, discount=0.9)


@pytest.fixture(scope='module')
def found():
    torch.manual_seed(3)
    model = make_gpt(TINY)
    for parameter in model.parameters():  # far from uniform, so that candidates differ
        parameter.data += 0.3 * torch.randn(parameter.shape)
    data = np.random.default_rng(0).normal(size=(500, model.layout.dim))
    discretizer = UniformDiscretizer(data, model.vocab_size)
    prefixes = [torch.randint(0, 10, (n * model.layout.dim + model.layout.observation_dim,)) for n in (0, 1, 0)]

    def plan(**options):
        generators = [torch.Generator().manual_seed(k) for k in range(3)]
        value_fn = lambda probs: discretizer.value_fn(probs, 'mean')  # noqa: E731
        return search(model, value_fn, prefixes, SETTINGS, generator=generators, **options)

    traces = []
    return plan(), plan(traces=traces), traces, prefixes, model.layout


def test_a_trace_changes_no_token_and_tells_the_plan_of_each_prefix(found):
    without, with_traces, traces, prefixes, layout = found
    assert torch.equal(without, with_traces)
    assert len(traces) == 3
    for trace, plan, prefix in zip(traces, with_traces, prefixes, strict=True):
        assert trace.transitions.shape == (3, 12, layout.dim)
        assert trace.kept.shape == (3, 4)
        assert np.array_equal(trace.taken(), plan.numpy())
        assert (trace.transitions[0, :, : layout.observation_dim] == prefix[-layout.observation_dim :].numpy()).all()


def test_those_kept_are_the_best_and_every_candidate_continues_one_of_them(found):
    for trace in found[2]:
        for t in range(3):
            ranked = trace.values[t].astype(np.float32)
            assert trace.values[t, trace.kept[t]].tolist() == sorted(trace.values[t, trace.kept[t]], reverse=True)
            assert np.delete(ranked, trace.kept[t]).max() <= ranked[trace.kept[t]].min()
            if t:
                assert set(trace.parents[t]) == set(trace.kept[t - 1])
                assert (np.unique(trace.parents[t], return_counts=True)[1] == SETTINGS.n_expand).all()


def test_siblings_share_their_observation(found):
    layout = found[4]
    for trace in found[2]:
        for parent in set(trace.parents[2]):
            seen = trace.transitions[2, trace.parents[2] == parent][:, layout.observation]
            assert (seen == seen[0]).all()


def made():
    rng = np.random.default_rng(0)
    kept = np.array([[2, 1], [3, 0]])
    parents = np.stack([np.zeros(4, int), kept[0][np.arange(4) % 2]])
    trace = SearchTrace(rng.normal(size=(2, 4, 6)), parents, rng.normal(size=(2, 4)), kept)
    return Searches(np.array([5]), (trace,), rng.normal(size=(9, 3)), rng.normal(size=8))


def test_a_file_holds_what_was_saved(tmp_path):
    searches = made()
    searches.save(tmp_path / 'searches.npz')
    read = Searches.load(tmp_path / 'searches.npz')
    np.testing.assert_allclose(read.traces[0].transitions, searches.traces[0].transitions, rtol=1e-6)
    np.testing.assert_array_equal(read.traces[0].parents, searches.traces[0].parents)
    np.testing.assert_allclose(read.rewards, searches.rewards, rtol=1e-6)
    assert (read.steps.tolist(), read.stride) == ([5], 1)


def test_paths_lead_from_the_first_transition():
    trace = made().traces[0]
    assert np.array_equal(trace.path_to(1, 3), [trace.transitions[0, 1], trace.transitions[1, 3]])
    assert np.array_equal(trace.taken(), trace.path_to(1, 3))


@pytest.mark.parametrize('damage', ['none', 'text', 'cut', 'range', 'width'])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / 'searches.npz'
    if damage != 'none':
        made().save(path)
    if damage == 'text':
        path.write_text('no archive')
    if damage == 'cut':
        path.write_bytes(path.read_bytes()[:200])
    if damage in ('range', 'width'):
        with np.load(path) as archive:
            arrays = dict(archive)
        if damage == 'range':
            arrays['kept'][0, 0, 0] = 99
        else:
            arrays['observations'] = np.zeros((9, 30))
        np.savez(path, **arrays)
    with pytest.raises(InputError, match='--trace_freq'):
        Searches.load(path)
