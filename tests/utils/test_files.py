"""Files written whole or not at all, and what is said of those that cannot be read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trajectory.utils import (
    InputError,
    get_latest_epoch,
    mkdir,
    read_json,
    write_atomically,
    write_json,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# -------------------------------- writing --------------------------------- #


def test_mkdir_makes_parents_and_is_content_with_what_is_there(tmp_path):
    assert mkdir(tmp_path / 'a' / 'b') is True
    assert (tmp_path / 'a' / 'b').is_dir()
    assert mkdir(str(tmp_path / 'a' / 'b')) is False


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_flag(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=r'cannot make the folder .*logs: Not a directory.\n.*--logbase'):
        mkdir(tmp_path / 'file' / 'logs')


def test_a_file_is_whole_once_it_has_its_name(tmp_path):
    path = tmp_path / 'x.npz'
    with write_atomically(path) as partial:
        np.savez(partial, x=1)  # which would append .npz to a name that ends otherwise
        assert not path.exists()
        assert partial.parent == tmp_path
    assert np.load(path)['x'] == 1
    assert names(tmp_path) == ['x.npz']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / 'x.txt'
    path.write_text('old')

    def write_half():
        with write_atomically(path) as partial:
            partial.write_text('ne')
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['x.txt']


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / 'x.txt'
    with write_atomically(path) as first:
        first.write_text('first')
        with write_atomically(path) as second:
            second.write_text('second')
        assert path.read_text() == 'second'
    assert path.read_text() == 'first'


def test_a_new_file_is_as_readable_as_any_other(tmp_path):
    (tmp_path / 'usual').touch()
    write_json(tmp_path / 'x.json', 1)
    assert (tmp_path / 'x.json').stat().st_mode == (tmp_path / 'usual').stat().st_mode


def test_a_killed_writer_leaves_no_half_file_under_the_name(tmp_path):
    probe = (
        'import os, signal; from trajectory.utils import write_atomically\n'
        f'with write_atomically({str(tmp_path / "state_3.pt")!r}) as partial:\n'
        '    partial.write_text("half"); os.kill(os.getpid(), signal.SIGKILL)'
    )
    assert subprocess.run([sys.executable, '-c', probe]).returncode == -9
    assert not (tmp_path / 'state_3.pt').exists()
    with pytest.raises(InputError, match=r'holds no state_'):
        get_latest_epoch(tmp_path)


# ---------------------------------- JSON ---------------------------------- #


def test_json_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / 'x.json'
    write_json(path, {'n': np.float32(0.5), 'x': np.arange(3), 'at': Path('logs'), 'no': 'größe', 'k': None})
    assert read_json(path) == {'n': 0.5, 'x': [0, 1, 2], 'at': 'logs', 'no': 'größe', 'k': None}
    assert path.read_text().endswith('\n')


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / 'x.json', 1)
    with pytest.raises(TypeError, match=r'JSON has no form for .*, a object'):
        write_json(tmp_path / 'x.json', object())
    assert read_json(tmp_path / 'x.json') == 1


@pytest.mark.parametrize('content', [b'{"a": 1', b'', b'\xff\xfe\x00'])
def test_damaged_json_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / 'args.json').write_bytes(content)
    with pytest.raises(InputError, match=r'args.json is not valid JSON: [\s\S]*Restore'):
        read_json(tmp_path / 'args.json')


def test_a_folder_in_the_place_of_a_file_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r'is a folder, expected a regular file'):
        read_json(tmp_path)


def test_a_missing_file_is_an_error_that_says_what_is_there_instead(tmp_path):
    with pytest.raises(InputError, match=r'x\.json does not exist\. Its folder is empty'):
        read_json(tmp_path / 'x.json')
    with pytest.raises(InputError, match=r'x\.json does not exist\. Its folder does not exist either'):
        read_json(tmp_path / 'logs' / 'x.json')
    for n in range(20):
        (tmp_path / f'{n:02d}').touch()
    with pytest.raises(InputError, match=r'Its folder holds 00, 01, .*, 11 and 8 more'):
        read_json(tmp_path / 'x.json')
