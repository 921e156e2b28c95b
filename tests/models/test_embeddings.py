"""Embeddings that mix each token with its neighbours."""

import pytest
import torch

from trajectory.models.embeddings import SmoothEmbedding, add_stop_token, make_weights


def test_a_tokens_share_goes_to_its_neighbours_and_stays_inside():
    torch.testing.assert_close(
        make_weights(4, [0.1, 0.7, 0.2]),
        torch.tensor(
            [
                [0.8, 0.2, 0, 0],  # what would fall before the first token stays on it
                [0.1, 0.7, 0.2, 0],
                [0, 0.1, 0.7, 0.2],
                [0, 0, 0.1, 0.9],
            ],
            dtype=torch.float64,
        ),
    )


@pytest.mark.parametrize('n_tokens', [1, 2, 9])
def test_every_token_is_shared_out_whole(n_tokens):
    mixed = make_weights(n_tokens, [0.05, 0.2, 0.5, 0.2, 0.05])
    assert mixed.shape == (n_tokens, n_tokens)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(n_tokens, dtype=torch.float64))


def test_weights_of_one_mix_nothing():
    torch.testing.assert_close(make_weights(3, [1]), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize('weights', [[0.5, 0.5], [0.2, 0.6, 0.1], []])
def test_shares_that_have_no_middle_or_do_not_sum_to_one_are_refused(weights):
    with pytest.raises(ValueError, match='expected an odd number of weights that sum to 1, got'):
        make_weights(4, weights)


def test_the_stop_token_mixes_with_nothing():
    mixed = add_stop_token(make_weights(3, [0.25, 0.5, 0.25]))
    torch.testing.assert_close(mixed[3], torch.tensor([0, 0, 0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(mixed[:3, 3], torch.zeros(3, dtype=torch.float64))


def test_an_embedding_is_the_mixture_of_its_neighbours():
    torch.manual_seed(0)
    embedding = SmoothEmbedding(5, 8, [0.1, 0.8, 0.1], stop_token=True)
    table = embedding.embeddings.weight
    x = torch.tensor([[0, 2, 5], [4, 1, 3]])
    found = embedding(x)
    assert found.shape == (2, 3, 8)
    torch.testing.assert_close(found[0, 0], 0.9 * table[0] + 0.1 * table[1])
    torch.testing.assert_close(found[0, 1], 0.1 * table[1] + 0.8 * table[2] + 0.1 * table[3])
    torch.testing.assert_close(found[0, 2], table[5])
    torch.testing.assert_close(found[1, 0], 0.1 * table[3] + 0.9 * table[4])


def test_neighbours_start_out_alike():
    torch.manual_seed(0)
    embedding = SmoothEmbedding(40, 64, [0.1, 0.2, 0.4, 0.2, 0.1])
    vectors = embedding(torch.arange(40)[None])[0]
    near = (vectors[1:] - vectors[:-1]).norm(dim=-1).mean()
    far = (vectors[20:] - vectors[:-20]).norm(dim=-1).mean()
    assert near < 0.7 * far
