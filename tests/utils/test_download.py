"""Downloads from a real server that breaks off, forgets, changes its file, or is not there."""
import random
import socket

import pytest

from tests.support import serve
from trajectory.utils.download import TRIES, download
from trajectory.utils.errors import InputError

CONTENT = random.Random(0).randbytes(100_000)


def fetch(server, folder):
    url = server if isinstance(server, str) else server.url
    path = folder / 'store/file.zip'
    return download(url, path, what='The archive', remedy='  Name a copy.', pause=0, progress=False)


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
