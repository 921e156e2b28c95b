"""Fetch a large file, whole or not at all, and take up again where the last try was cut off."""

import hashlib
import json
import logging
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from trajectory.utils.errors import InputError
from trajectory.utils.files import cannot_write, write_json
from trajectory.utils.progress import Progress, Silent

log = logging.getLogger(__name__)

CHUNK = 2**20  # bytes
TRIES = 5  # in a row that came no further
FIRST_TRIES = 2  # of a host that never sent a byte
TIMEOUT = 30  # seconds without a byte
NO_HOST = (socket.gaierror, ConnectionRefusedError)  # most likely no network, and no use to try again


class _Failed(Exception):
    """An address will not do; the message says why."""


def check_address(address: str, what: str) -> None:
    """Raise InputError for an address that nobody could be asked at."""
    try:
        parts = urllib.parse.urlsplit(address)
        is_one = bool(parts.hostname) or parts.scheme not in ('http', 'https')
        _ = parts.port
    except ValueError:
        is_one = False
    if not is_one:
        raise InputError(f'{what}: {address!r} is no address.\n  Write it as https://host/folder/file.')


def download(
    url: str | Sequence[str],
    path: Path,
    *,
    what: str,
    remedy: str,
    n_bytes: int | None = None,
    sha256: str | None = None,
    check: Callable[[Path], None] | None = None,
    pause: float = 2,
    timeout: float = TIMEOUT,
    progress: bool = True,
) -> Path:
    """Fetch a file to `path`, where it appears once it is whole and right; one that is there already stays.

    What has come so far waits beside it as `<name>.part`. Of several processes that want the same file, one fetches it
    while the others wait; what a killed one left is taken up by the next.

    url     : its address, or several of them, of which the next is asked where one fails
    what    : it is, for messages
    remedy  : what to do when it cannot be had
    n_bytes, sha256 : of the file, where they are known
    check   : is called with the file before it has its name, and refuses it by an `InputError`
    pause   : seconds before the next try, twice as long after each that brought nothing
    timeout : seconds without a byte that end a try
    returns : path
    """
    if path.exists():
        return path
    for address in [url] if isinstance(url, str) else url:
        check_address(address, what)
    part, reasons = path.with_name(f'{path.name}.part'), []
    with file_lock(path, what, remedy):
        for address in [] if path.exists() else [url] if isinstance(url, str) else url:
            source = _Source(address, part, n_bytes, sha256, check, pause, timeout, progress)
            log.info('fetching %s from %s', path.name, address)
            try:
                source.fetch_right()
                _notes(part).unlink(missing_ok=True)
                part.replace(path)
                break
            except _Failed as reason:
                reasons.append(f'from {address}: {reason}')
    if not path.exists():
        raise InputError(f'{what} cannot be had {"; nor ".join(reasons)}.\n{remedy}')
    return path


@contextmanager
def file_lock(path: Path, what: str, remedy: str):
    """Keep other processes from fetching the same file, or folder, for as long as this lasts."""
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f'.{path.name}.lock'))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info('another process is fetching %s: waiting for it', path)
            lock.acquire()
    except OSError as error:
        raise InputError(f'{what} cannot be kept in {path.parent}: {error.strerror or error}.\n{remedy}') from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # still held: who waits sees that it is gone
        lock.release()


@dataclass(frozen=True)
class _Source:
    """An address, and what is to come from it; the fields are those of `download`."""

    url: str
    part: Path
    n_bytes: int | None
    sha256: str | None
    check: Callable | None
    pause: float
    timeout: float
    progress: bool

    def fetch_right(self):
        """Fetch all of the file, and refuse it if it is another; one that came in pieces has a second chance."""
        if not self.url.startswith(('https://', 'http://')):
            raise _Failed('it is no address that begins with https://, and no file here')
        for _ in range(2):
            pieced = self.fetch_whole()
            wrong = self.find_wrong()
            if wrong is None:
                return
            _discard(self.part)
            if not pieced:
                break
            log.info('%s: came in pieces, and %s; fetching it anew', self.url, wrong)
        raise _Failed(wrong)

    def fetch_whole(self) -> bool:
        """Try until all has come, or nothing more comes.    returns : whether it is pieced together of several tries"""
        furthest, failures, pieced, answered = _size(self.part), 0, False, False
        while True:
            try:
                pieced |= self.fetch()
                return pieced
            except urllib.error.HTTPError as error:
                answered = True
                if error.code < 500 and error.code not in (408, 429):
                    raise _Failed(f'{error.code} {error.reason}') from error
                reason = f'{error.code} {error.reason}'
            except (HTTPException, OSError, ValueError) as error:  # no host, a broken connection, a cut answer
                if isinstance(error, ValueError) and not isinstance(error, OSError):
                    raise _Failed(f'it is no address: {error}') from error
                cause = getattr(error, 'reason', None) or error
                reason = str(cause) or type(cause).__name__
                if isinstance(cause, NO_HOST) and not _size(self.part):
                    raise _Failed(reason) from error
            failures = 0 if _size(self.part) > furthest else failures + 1
            furthest = max(furthest, _size(self.part))
            if failures == (TRIES if furthest or answered else FIRST_TRIES):
                raise _Failed(reason)
            log.info('%s: %s; trying again', self.url, reason)
            time.sleep(self.pause * 2**failures)

    def fetch(self) -> bool:
        """One try: the bytes that are missing, if the server gives parts of an unchanged file, else all of them.

        returns : whether they follow bytes of an earlier try
        """
        validator, n_had = _read_validator(self.part, self.url), _size(self.part)
        request = urllib.request.Request(self.url, headers={'User-Agent': 'trajectory', 'Accept-Encoding': 'identity'})
        if validator and n_had:
            request.add_header('Range', f'bytes={n_had}-')
            request.add_header('If-Range', validator)
        try:
            answer = urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 416:
                raise
            if error.headers.get('Content-Range') == f'bytes */{n_had}':
                return True  # nothing is missing
            _discard(self.part)
            raise OSError('the file has become shorter') from error
        with answer:
            length = answer.headers.get('Content-Length')
            n_all = int(length) if length else None
            if answer.status == 206:
                given = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', answer.headers.get('Content-Range', ''))
                if not given or int(given[1]) != n_had:
                    _discard(self.part)  # and ask for no part again
                    raise OSError('the server gave another part than it was asked for')
                n_all = int(given[2])
            else:
                _discard(self.part)  # before its notes change: they must never be of another file
                n_had = 0
                _write_notes(self.part, self.url, answer.headers)
            if None not in (self.n_bytes, n_all) and n_all != self.n_bytes:
                _discard(self.part)
                raise _Failed(f'it has {n_all:,} bytes there, expected {self.n_bytes:,}')
            self.append(answer, n_had, n_all if n_all is not None else self.n_bytes)
        if n_all is not None and _size(self.part) != n_all:
            raise OSError(f'the connection ended after {_size(self.part):,} of {n_all:,} bytes')
        return n_had > 0

    def append(self, answer, n_had, n_all):
        """Write down what comes as it comes, so that a try that ends amid a block is not lost."""
        try:
            n_free = shutil.disk_usage(self.part.parent).free
            file = open(self.part, 'ab')
        except OSError as error:
            raise cannot_write(self.part, error) from error
        bar = Progress if self.progress and n_all else Silent
        with file, bar(-(-(n_all or 1) // CHUNK), name='MiB', done=n_had // CHUNK) as report:
            if n_all is not None and n_all - n_had > n_free:
                raise InputError(
                    f'{n_all - n_had:,} bytes are to come, and the disk of {self.part.parent} has '
                    f'{n_free:,} free.\n  Make room, or choose another folder.'
                )
            while (n_all is None or n_had < n_all) and (piece := answer.read1(CHUNK)):
                try:
                    file.write(piece)
                except OSError as error:
                    raise cannot_write(self.part, error) from error
                report.update(n=(n_had + len(piece)) // CHUNK - n_had // CHUNK)
                n_had += len(piece)
            file.flush()
            os.fsync(file.fileno())

    def find_wrong(self) -> str | None:
        """What tells the file that came from the one that was meant, if anything does."""
        if self.n_bytes not in (None, _size(self.part)):
            return f'it has {_size(self.part):,} bytes, expected {self.n_bytes:,}'
        if self.sha256 is not None and (found := _sha256(self.part)) != self.sha256:
            return f'its sha256 is {found}, expected {self.sha256}'
        if self.check is not None:
            try:
                self.check(self.part)
            except InputError as error:
                return str(error).partition('\n')[0]
        return None


def _size(part):
    return part.stat().st_size if part.exists() else 0


def _sha256(part):
    digest = hashlib.sha256()
    with open(part, 'rb') as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _notes(part):
    return part.with_name(f'{part.name}.json')


def _discard(part):
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _read_validator(part, url):
    """What tells the file that was begun from a later one, or from another address's, if the server said so."""
    try:
        notes = json.loads(_notes(part).read_text())
        return notes['validator'] if notes['url'] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_notes(part, url, headers):
    validator = headers.get('ETag') or 'W/'
    validator = headers.get('Last-Modified') if validator.startswith('W/') else validator  # weak: of like files
    if validator:
        write_json(_notes(part), {'url': url, 'validator': validator})
