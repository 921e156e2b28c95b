"""Facts of a dataset that a run keeps."""

import numpy as np

from tests.datasets.test_sources import steps
from trajectory.datasets.describe import describe_data, spec_of
from trajectory.datasets.hdf5 import write_episodes
from trajectory.datasets.sources import find_source, load_environment
from trajectory.storage.run_folder import hash_file


def test_it_says_where_the_data_is_from_and_how_good_it_is(tmp_path):
    path = tmp_path / 'mine.hdf5'
    write_episodes(path, steps(), {'env': 'Hopper-v4', 'physics': 'd4rl', 'sources': 'here'})
    returns = np.arange(20.0)
    facts = describe_data(find_source('mine', path), 5, returns)
    assert facts == {
        'environment': 'Hopper-v4',
        'physics': 'd4rl',
        'data_source': 'here',
        'transitions': 5,
        'episodes': 20,
        'mean_return': 9.5,
        'best_tenth_return': 18.5,
        'dataset_sha256': hash_file(path),
    }
    assert describe_data(load_environment('mine', path), 5, returns) == facts


def test_a_simulator_has_the_specification_of_its_source(tmp_path):
    path = tmp_path / 'mine.hdf5'
    write_episodes(path, steps(), {'env': 'Hopper-v4', 'physics': 'd4rl', 'sources': 'here'})
    source = find_source('mine', path)
    assert spec_of(source) is source.spec
    assert spec_of(source.make()).record() == source.spec.record()
