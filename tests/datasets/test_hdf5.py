"""Recorded episodes on disk: what goes in comes out, and damage of every kind is named."""

import os

import h5py
import numpy as np
import pytest

from trajectory.datasets.hdf5 import COLUMNS, check_readable, read_episodes, read_metadata, survey, write_episodes
from trajectory.utils.errors import InputError

N_STEPS = 400


def recorded(n_steps=N_STEPS, observation_dim=11, action_dim=3):
    rng = np.random.default_rng(0)
    return {
        'observations': rng.normal(size=(n_steps, observation_dim)).astype(np.float32),
        'actions': rng.uniform(-1, 1, (n_steps, action_dim)).astype(np.float32),
        'rewards': rng.normal(size=n_steps).astype(np.float32),
        'terminals': rng.random(n_steps) < 0.02,
        'timeouts': rng.random(n_steps) < 0.02,
    }


def write_raw(path, **columns):
    """Columns as they are, right or wrong; None leaves one out."""
    with h5py.File(path, 'w') as file:
        for name, column in columns.items():
            if column is not None:
                file[name] = column
    return path


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / 'whole.hdf5'
    write_episodes(path, recorded(), {'env': 'Hopper-v4', 'seed': 3, 'policy': ['random', 'expert']})
    return path


def test_what_is_written_is_read_again(whole):
    found = read_episodes(whole)
    assert list(found) == list(COLUMNS)
    for name, column in recorded().items():
        np.testing.assert_array_equal(found[name], column)
        assert found[name].dtype == column.dtype
    assert read_metadata(whole) == {'env': 'Hopper-v4', 'seed': '3', 'policy': '["random", "expert"]'}


def test_numbers_of_any_precision_and_columns_of_width_one_are_read(tmp_path):
    columns = recorded()
    path = write_raw(
        tmp_path / 'wide.hdf5',
        **{
            **columns,
            'observations': columns['observations'].astype(np.float64),
            'rewards': columns['rewards'][:, None],
            'terminals': columns['terminals'].astype(np.int64)[:, None],
        },
    )
    found = read_episodes(path)
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], column)
        assert found[name].dtype == column.dtype


def test_a_file_that_says_nothing_of_itself_is_read(tmp_path):
    assert read_metadata(write_raw(tmp_path / 'silent.hdf5', **recorded())) == {}
    assert read_metadata(write_raw(tmp_path / 'odd.hdf5', metadata=np.zeros(3))) == {}


def test_a_missing_file_is_named(tmp_path):
    for read in (read_episodes, read_metadata):
        with pytest.raises(InputError, match=r'absent.hdf5 is not there.\n.*--dataset_path'):
            read(tmp_path / 'absent.hdf5')


@pytest.mark.parametrize('share', [0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_a_file_that_was_cut_off_is_refused(whole, share):
    content = whole.read_bytes()
    whole.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r'whole.hdf5 \([\d,]+ bytes\) is not a whole HDF5 file(.|\n)*download'):
        read_episodes(whole)


def test_a_file_whose_blocks_are_damaged_is_refused(whole):
    with h5py.File(whole) as file:
        start = file['observations'].id.get_chunk_info(0).byte_offset
    content = bytearray(whole.read_bytes())
    content[start + 8 : start + 200] = bytes(192)
    whole.write_bytes(content)
    with pytest.raises(InputError, match='is not a whole HDF5 file'):
        read_episodes(whole)


def test_a_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / 'notes.hdf5'
    path.write_text('observations, actions, rewards\n' * 100)
    for read in (read_episodes, read_metadata):
        with pytest.raises(InputError, match='is not a whole HDF5 file'):
            read(path)


def with_bad(name, row, value):
    column = recorded()[name].copy()
    column[row] = value
    return column


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'timeouts': None}, r"has no 'timeouts'; it holds actions, observations, rewards, terminals.\n  D4RL's"),
        ({'rewards/data': np.zeros(3), 'rewards': None}, "'rewards' is a group, expected a column"),
        ({'rewards': np.array([b'one'] * N_STEPS)}, r"'rewards' holds \|S3, expected numbers"),
        ({'rewards': [['one', 'two']] * (N_STEPS // 2)}, "'rewards' holds object, expected numbers"),
        ({'observations': np.zeros(N_STEPS)}, r"'observations' has shape \(400,\), expected \[ steps x numbers \]"),
        ({'actions': np.zeros((N_STEPS, 3, 1))}, r"'actions' has shape \(400, 3, 1\), expected \[ steps x numbers \]"),
        ({'rewards': np.zeros((N_STEPS, 2))}, r"'rewards' has shape \(400, 2\), expected \[ steps \]"),
        (
            {'observations': np.zeros((N_STEPS, 0))},
            r"'observations' has shape \(400, 0\), expected \[ steps x numbers \]",
        ),
        ({'rewards': 1.0}, r"'rewards' has shape \(\), expected \[ steps \]"),
        (
            {'rewards': np.zeros(N_STEPS - 1)},
            r'differ in length: .*rewards 399, .*\n  Every step needs one row in each',
        ),
        (
            {'rewards': with_bad('rewards', 17, np.nan)},
            r"'rewards' has 1 values that are not finite, the first in row 17",
        ),
        (
            {'actions': with_bad('actions', 5, np.inf)},
            r"'actions' has 3 values that are not finite, the first in row 5",
        ),
        ({'observations': np.full((N_STEPS, 11), 1e300)}, "'observations' has 4,400 values that are not finite"),
        ({'terminals': with_bad('rewards', 9, np.nan)}, r"'terminals' has 1 values that are not finite, .* row 9"),
        (
            {'terminals': with_bad('rewards', 9, 0.5)},
            r"'terminals' has 400 values other than 0 and 1, the first in row 0",
        ),
        ({'timeouts': np.full(N_STEPS, 2)}, r"'timeouts' has 400 values other than 0 and 1"),
        ({'actions': h5py.Empty('f4')}, "'actions' is empty, expected numbers"),
        ({name: column[:0] for name, column in recorded().items()}, r'holds no steps.\n.*collect.py'),
    ],
)
def test_content_that_does_not_fit_is_named(tmp_path, changes, message):
    path = write_raw(tmp_path / 'bad.hdf5', **{**recorded(), **changes})
    with pytest.raises(InputError, match=message) as refused:
        read_episodes(path)
    assert str(path) in str(refused.value)
    assert '\n  ' in str(refused.value), 'say what to do'


def test_a_column_that_claims_more_than_the_file_holds_is_refused_before_it_fills_the_memory(tmp_path):
    path = write_raw(tmp_path / 'huge.hdf5', **{**recorded(), 'observations': None})
    with h5py.File(path, 'a') as file:
        file.create_dataset('observations', (2**40, 11), dtype='f4', chunks=(1000, 11))
    with pytest.raises(InputError, match=r"'observations' has shape \(1099511627776, 11\), far more than the file can"):
        read_episodes(path)
    with h5py.File(path, 'a') as file:
        del file['observations']
        file.create_dataset('observations', (50_000_000, 11), dtype='f4', chunks=(1000, 11))
    for read in (read_episodes, check_readable):
        with pytest.raises(InputError, match='far more than the file can hold'):
            read(path)


def test_every_violation_is_found_with_its_rows(tmp_path):
    actions, flags = recorded()['actions'].copy(), recorded()['terminals'].astype(np.float32)
    actions[[3, 9], 1], flags[7], flags[8] = np.inf, 2, np.nan
    columns, found = survey(
        write_raw(
            tmp_path / 'bad.hdf5',
            **{
                **recorded(),
                'rewards': None,
                'actions': actions,
                'terminals': flags,
                'timeouts': np.zeros(N_STEPS - 1),
            },
        )
    )
    assert set(columns) == {'observations', 'actions', 'terminals', 'timeouts'}
    assert [(violation.column, list(violation.rows)) for violation in found] == [
        (None, []),
        (None, []),
        ('actions', [3, 9]),
        ('terminals', [8]),
        ('terminals', [7]),
    ]
    assert "no 'rewards'" in found[0].text
    assert 'differ in length' in found[1].text


# ---------------------------- a hundred damaged files ---------------------------- #


def write_foreign(path):
    """A file as others write them: nothing compressed, nothing under a checksum."""
    return write_raw(path, **recorded(), **{'metadata/env': 'Hopper-v4'})


def write_ours(path):
    write_episodes(path, recorded(), {'env': 'Hopper-v4'})
    return path


def damaged_files(folder):
    """A hundred files, each damaged in its own way.    yields : the file, and whether all of it is under checksums"""
    rng = np.random.default_rng(0)
    for number in range(100):
        path, ours = folder / f'{number}.hdf5', number % 2 == 0
        (write_ours if ours else write_foreign)(path)
        if number < 30:
            os.truncate(path, int(rng.integers(path.stat().st_size)))
        elif number < 70:
            content = bytearray(path.read_bytes())
            # what describes a foreign file lies at its beginning and its end, and between its columns
            places = rng.integers(len(content), size=5) if ours else rng.integers(2048, size=5)
            for place in places:
                content[place] ^= rng.integers(1, 256)
            path.write_bytes(content)
        else:
            with h5py.File(path, 'a') as file:
                name = rng.choice(list(COLUMNS))
                column = file[name][()]
                del file[name]
                kind = rng.integers(6)
                if kind == 0:
                    file[name] = np.array(['one'] * N_STEPS, dtype='S3')
                elif kind == 1:
                    file[name] = np.zeros(N_STEPS, dtype=[('a', 'f4'), ('b', 'i4')])
                elif kind == 2:
                    file.create_group(f'{name}/{name}')
                elif kind == 3:
                    file[name] = column[: rng.integers(N_STEPS)]
                elif kind == 4:
                    file[name] = h5py.SoftLink('/nowhere')
        yield path, ours


def test_a_hundred_damaged_files_are_refused_or_read_right(tmp_path):
    refusals = []
    for path, ours in damaged_files(tmp_path):
        before = path.read_bytes()
        try:
            found = read_episodes(path)
            metadata = read_metadata(path)
        except InputError as error:
            refusals.append((path, str(error)))
        else:
            for name, column in recorded().items():
                assert found[name].shape == column.shape
                assert not ours or np.array_equal(found[name], column), f'{path.name}: {name} is read wrong'
            assert not ours or list(metadata) == ['env']
        assert path.read_bytes() == before
    assert len(refusals) > 80
    for path, said in refusals:
        assert str(path) in said
        assert '\n  ' in said, 'say what to do'
    assert len(list(tmp_path.iterdir())) == 100


def test_a_byte_that_flips_outside_the_columns_is_noticed_too(tmp_path):
    path = write_ours(tmp_path / 'ours.hdf5')
    content, structure = path.read_bytes(), np.ones(path.stat().st_size, dtype=bool)
    with h5py.File(path) as file:
        for name in COLUMNS:
            for chunk in map(file[name].id.get_chunk_info, range(file[name].id.get_num_chunks())):
                structure[chunk.byte_offset : chunk.byte_offset + chunk.size] = False
    refused, rng = 0, np.random.default_rng(0)
    for place in rng.choice(np.flatnonzero(structure), 200, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        try:
            found, metadata = read_episodes(path), read_metadata(path)
        except InputError:
            refused += 1
        else:
            assert all(np.array_equal(found[name], column) for name, column in recorded().items())
            assert list(metadata) == ['env']  # whose words alone are under no checksum
    assert refused > 50


def test_an_empty_file_holds_nothing(tmp_path):
    with pytest.raises(InputError, match="has no 'observations'; it holds nothing"):
        read_episodes(write_raw(tmp_path / 'empty.hdf5'))


@pytest.mark.parametrize(
    ('columns', 'metadata'),
    [
        ({**recorded(), 'timeouts': None}, {}),
        (recorded(), {'env': object()}),
    ],
)
def test_a_write_that_fails_leaves_nothing_behind(tmp_path, columns, metadata):
    path = tmp_path / 'half.hdf5'
    with pytest.raises((TypeError, AttributeError)):
        write_episodes(path, columns, metadata)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_earlier_file_whole(whole):
    with pytest.raises(TypeError):
        write_episodes(whole, recorded(), {'env': object()})
    np.testing.assert_array_equal(read_episodes(whole)['rewards'], recorded()['rewards'])
    assert list(whole.parent.iterdir()) == [whole]
