"""Downloads from a real server that breaks off, forgets, changes its file, or is not there."""

import hashlib
import random
import socket
import subprocess
import sys
import time

import pytest

from tests.support import serve
from trajectory.storage.download import FIRST_TRIES, TRIES, download
from trajectory.utils.errors import InputError

CONTENT = random.Random(0).randbytes(100_000)


def fetch(server, folder, **given):
    url = server.url if hasattr(server, 'url') else server
    path = folder / 'store/file.zip'
    return download(url, path, what='The archive', remedy='  Name a copy.', pause=0, progress=False, **given)


def names(folder):
    return sorted(path.name for path in (folder / 'store').iterdir())


def test_a_file_comes_whole(tmp_path):
    with serve(CONTENT) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ['file.zip']
    assert server.asked == [None]


def test_a_broken_download_goes_on_where_it_ended(tmp_path):
    with serve(CONTENT, cuts=[1000, 60_000]) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, 'bytes=1000-', 'bytes=60000-']


def test_a_second_start_goes_on_where_the_first_ended(tmp_path):
    with serve(CONTENT, cuts=[1000] * 20) as server:
        with pytest.raises(InputError, match=r'1,000 of 100,000 bytes.\n  Name a copy'):
            fetch(server, tmp_path)
        assert names(tmp_path) == ['file.zip.part', 'file.zip.part.json']
        server.cuts.clear()
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == 'bytes=1000-'
    assert server.asked.count(None) == 1
    assert names(tmp_path) == ['file.zip']


def test_a_download_that_had_only_to_be_named_asks_for_nothing_more(tmp_path):
    with serve(CONTENT, cuts=[1000] * 20) as server:
        with pytest.raises(InputError):
            fetch(server, tmp_path)
        (tmp_path / 'store/file.zip.part').write_bytes(CONTENT)
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == 'bytes=100000-'


def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path):
    with serve(CONTENT, cuts=[1000] * 20) as server:
        with pytest.raises(InputError):
            fetch(server, tmp_path)
        server.content, server.etag = CONTENT[::-1], '"2"'
        server.cuts = [5000]
        assert fetch(server, tmp_path).read_bytes() == CONTENT[::-1]
    assert server.asked[-2:] == ['bytes=1000-', 'bytes=5000-']


@pytest.mark.parametrize('etag', [None, 'W/"1"'])
def test_a_server_that_cannot_tell_files_apart_gives_them_whole(tmp_path, etag):
    with serve(CONTENT, cuts=[1000, 2000], etag=etag) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None] * 3


def test_a_server_that_names_no_size_is_believed(tmp_path):
    with serve(CONTENT, measured=False) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_damaged_notes_are_no_notes(tmp_path):
    with serve(CONTENT, cuts=[1000] * 20) as server:
        with pytest.raises(InputError):
            fetch(server, tmp_path)
        (tmp_path / 'store/file.zip.part.json').write_text('{"validator"')
        server.cuts.clear()
        assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(('errors', 'n_asked'), [([503, 429], 3), ([500], 2)])
def test_a_busy_server_is_asked_again(tmp_path, errors, n_asked):
    with serve(CONTENT, errors=errors) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == n_asked


@pytest.mark.parametrize(('status', 'n_asked'), [(404, 1), (403, 1), (503, TRIES)])
def test_a_file_that_is_gone_is_named_with_the_remedy(tmp_path, status, n_asked):
    with serve(CONTENT, errors=[status] * 9) as server, pytest.raises(InputError) as raised:
        fetch(server, tmp_path)
    assert str(raised.value).startswith(f'The archive cannot be had from {server.url}: {status} ')
    assert str(raised.value).endswith('\n  Name a copy.')
    assert len(server.asked) == n_asked
    assert names(tmp_path) == []


def test_a_host_that_is_gone_is_named_with_the_remedy(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as free:
        url = f'http://127.0.0.1:{free.getsockname()[1]}/file'
    with pytest.raises(InputError, match=r'cannot be had from http://127[^:]*:\d+/file: .*refused.*\n  Name a copy'):
        fetch(url, tmp_path)


@pytest.mark.parametrize('url', ['file:///etc/hostname', 'ftp://127.0.0.1/x', 'models.zip'])
def test_only_web_addresses_are_fetched(tmp_path, url):
    with pytest.raises(InputError, match='no address that begins with https://, and no file here'):
        fetch(url, tmp_path)


# ------------------------------- faults of servers ------------------------------- #


def test_a_server_that_falls_silent_is_asked_again_for_the_rest(tmp_path):
    with serve(CONTENT, stalls=[1000, 60_000]) as server:
        assert fetch(server, tmp_path, timeout=0.2).read_bytes() == CONTENT
    assert server.asked == [None, 'bytes=1000-', 'bytes=60000-']


def test_a_server_that_stays_silent_is_named(tmp_path):
    with serve(CONTENT, stalls=[0] * 9) as server:
        with pytest.raises(InputError, match=r'cannot be had from .*: timed out.\n  Name a copy'):
            fetch(server, tmp_path, timeout=0.05)
        assert len(server.asked) == FIRST_TRIES
    assert names(tmp_path) == ['file.zip.part', 'file.zip.part.json']


def test_a_server_that_gives_another_part_is_asked_for_the_whole(tmp_path):
    with serve(CONTENT, cuts=[1000], shift=7) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, 'bytes=1000-', None]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path):
    with serve(CONTENT, cuts=[1000] * 20) as server:
        with pytest.raises(InputError):
            fetch(server, tmp_path)
        (tmp_path / 'store/file.zip.part').write_bytes(CONTENT + b'more')
        server.cuts.clear()
        assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_gone_on_with(tmp_path):
    with serve(CONTENT, cuts=[1000] * 20) as first, serve(CONTENT[::-1]) as second:
        with pytest.raises(InputError):
            fetch(first, tmp_path)
        assert fetch(second, tmp_path).read_bytes() == CONTENT[::-1]
    assert second.asked == [None]


def test_the_next_address_is_asked_where_one_fails(tmp_path):
    with serve(CONTENT, errors=[404]) as first, serve(CONTENT) as second:
        assert fetch([first.url, second.url], tmp_path).read_bytes() == CONTENT
    with serve(CONTENT, errors=[404]) as first, serve(CONTENT, errors=[403]) as second:
        with pytest.raises(InputError) as raised:
            fetch([first.url, second.url], tmp_path / 'other')
    assert str(raised.value) == (
        f'The archive cannot be had from {first.url}: 404 Not Found; nor from {second.url}: '
        '403 Forbidden.\n  Name a copy.'
    )


# ------------------------------- wrong files ------------------------------- #

SHA256 = hashlib.sha256(CONTENT).hexdigest()
FLIPPED = CONTENT[:500] + bytes([CONTENT[500] ^ 1]) + CONTENT[501:]


def test_a_file_with_the_right_size_and_checksum_is_kept(tmp_path):
    with serve(CONTENT, cuts=[1000]) as server:
        assert fetch(server, tmp_path, n_bytes=len(CONTENT), sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ('served', 'message'),
    [
        (FLIPPED, f'its sha256 is {hashlib.sha256(FLIPPED).hexdigest()}, expected {SHA256}'),
        (b'<html>Please log in</html>', 'it has 26 bytes there, expected 100,000'),
        (CONTENT + b'x', 'it has 100,001 bytes there, expected 100,000'),
    ],
)
def test_a_wrong_file_is_refused_and_not_kept(tmp_path, served, message):
    with serve(served) as server, pytest.raises(InputError) as raised:
        fetch(server, tmp_path, n_bytes=len(CONTENT), sha256=SHA256)
    assert str(raised.value) == f'The archive cannot be had from {server.url}: {message}.\n  Name a copy.'
    assert names(tmp_path) == []
    assert server.asked == [None]


@pytest.mark.parametrize(
    ('served', 'message'),
    [
        (CONTENT[:-1], 'it has 99,999 bytes, expected 100,000'),
        (CONTENT * 90, r'it has [12]?,?\d{3},\d{3} bytes, expected 100,000'),  # of which one block was enough to see it
    ],
)
def test_a_wrong_file_is_refused_of_a_server_that_names_no_size(tmp_path, served, message):
    with serve(served, measured=False) as server, pytest.raises(InputError, match=message):
        fetch(server, tmp_path, n_bytes=len(CONTENT), sha256=SHA256)
    assert names(tmp_path) == []


def test_a_file_whose_pieces_do_not_fit_is_fetched_anew(tmp_path):
    with serve(FLIPPED, cuts=[1000] * 20) as server:
        with pytest.raises(InputError):
            fetch(server, tmp_path, sha256=SHA256)
        server.content = CONTENT  # under the same ETag
        server.cuts.clear()
        assert fetch(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert server.asked[-2:] == ['bytes=1000-', None]


def test_a_file_that_its_reader_refuses_is_not_kept(tmp_path):
    def refuse(path):
        assert path.read_bytes() == CONTENT
        raise InputError('it is no zip\n  Look elsewhere.')

    with serve(CONTENT) as server, pytest.raises(InputError, match=r': it is no zip.\n  Name a copy'):
        fetch(server, tmp_path, check=refuse)
    assert names(tmp_path) == []


def test_a_file_that_is_here_is_not_asked_for(tmp_path):
    (tmp_path / 'store').mkdir()
    (tmp_path / 'store/file.zip').write_bytes(b'mine')
    with serve(CONTENT) as server:
        assert fetch(server, tmp_path).read_bytes() == b'mine'
    assert server.asked == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'store').write_text('a file')
    with serve(CONTENT) as server, pytest.raises(InputError, match=r'archive cannot be kept in .*\n  Name a copy'):
        fetch(server, tmp_path)


# ------------------------------ two processes ------------------------------ #

FETCH = """
import sys
from pathlib import Path
from trajectory.storage.download import download
from trajectory.cli.setup import log_to_stdout
input()
with log_to_stdout():
    download(sys.argv[1], Path(sys.argv[2]), what='It', remedy='', pause=0, progress=False)
"""


@pytest.fixture
def two(tmp_path):
    """Two processes that fetch `file` once they are told to: each needs a while to be there."""

    def start(url):
        started = [
            subprocess.Popen(
                [sys.executable, '-u', '-c', FETCH, url, tmp_path / 'file'],
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        processes.extend(started)
        return started

    processes = []
    yield start
    for process in processes:
        process.kill()
        process.communicate()


def tell(process):
    process.stdin.write('go\n')
    process.stdin.flush()


def wait_for(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError('it never came')


def test_of_two_processes_one_fetches_and_the_other_waits(two, tmp_path):
    with serve(CONTENT, stalls=[50_000]) as server:
        first, second = two(server.url)
        tell(first)
        wait_for(lambda: server.asked)
        tell(second)
        assert 'another process is fetching' in second.stdout.readline()
        server.go_on.set()
        assert [process.wait() for process in (first, second)] == [0, 0]
    assert (tmp_path / 'file').read_bytes() == CONTENT
    assert server.asked == [None]
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_what_a_killed_process_fetched_is_taken_up_by_the_one_that_waited(two, tmp_path):
    part = tmp_path / 'file.part'
    with serve(CONTENT, stalls=[50_000]) as server:
        first, second = two(server.url)
        tell(first)
        wait_for(lambda: part.exists() and part.stat().st_size == 50_000)
        tell(second)
        assert 'another process is fetching' in second.stdout.readline()
        first.kill()
        assert second.wait() == 0
    assert (tmp_path / 'file').read_bytes() == CONTENT
    assert server.asked == [None, 'bytes=50000-']
    assert [path.name for path in tmp_path.iterdir()] == ['file']
