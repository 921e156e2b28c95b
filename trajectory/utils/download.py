"""Fetch a large file, and take up again where the last try was cut off."""
import json
import logging
import shutil
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from .errors import InputError
from .progress import Progress, Silent
from .serialization import mkdir, write_json

log = logging.getLogger(__name__)

CHUNK = 2**20       # bytes
TRIES = 5           # in a row without a byte
TIMEOUT = 30        # seconds without a byte


def download(url: str, path: Path, *, what: str, remedy: str, pause: float = 2, progress: bool = True) -> Path:
    """Fetch `url` to `path`; what has come so far waits beside it as `<name>.part`.

    what    : it is, for messages
    remedy  : what to do when it cannot be had
    pause   : seconds before the next try, twice as long after each that brought nothing
    returns : path
    """
    if not url.startswith(('https://', 'http://')):
        raise InputError(_gone(what, url, 'it is no address that begins with https://, and no file here', remedy))
    mkdir(path.parent)
    part = path.with_name(f'{path.name}.part')
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch(url, part, progress)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise InputError(_gone(what, url, f'{error.code} {error.reason}', remedy)) from error
            reason = f'{error.code} {error.reason}'
        except (OSError, HTTPException) as error:       # no host, no route, a broken connection, a cut answer
            reason = str(getattr(error, 'reason', None) or error) or type(error).__name__
        failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
        if failures == TRIES:
            raise InputError(_gone(what, url, reason, remedy))
        log.info('%s: %s; trying again', url, reason)
        time.sleep(pause * 2**failures)
    part.with_name(f'{part.name}.json').unlink(missing_ok=True)
    part.replace(path)
    return path


def _gone(what, url, reason, remedy):
    return f'{what} cannot be had from {url}: {reason}.\n{remedy}'


def _fetch(url, part, progress):
    """One try: the bytes that are missing, if the server gives parts of an unchanged file, else all of them."""
    notes = part.with_name(f'{part.name}.json')
    validator, n_had = _read_notes(notes), part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={'User-Agent': 'trajectory', 'Accept-Encoding': 'identity'})
    if validator and n_had:
        request.add_header('Range', f'bytes={n_had}-')
        request.add_header('If-Range', validator)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and error.headers.get('Content-Range') == f'bytes */{n_had}':
            return                              # nothing is missing
        raise
    with answer:
        if answer.status != 206 or not answer.headers.get('Content-Range', '').startswith(f'bytes {n_had}-'):
            part.unlink(missing_ok=True)        # before its notes change: they must never be of another file
            n_had = 0
            _write_notes(notes, answer.headers)
        length = answer.headers.get('Content-Length')
        n_all = n_had + int(length) if length else None
        _append(answer, part, n_had, n_all, progress)
    if n_all is not None and part.stat().st_size != n_all:
        raise OSError(f'the connection ended after {part.stat().st_size:,} of {n_all:,} bytes')


def _read_notes(notes):
    """What tells the file that was begun from a later one, if the server said so."""
    try:
        return json.loads(notes.read_text())['validator']
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_notes(notes, headers):
    validator = headers.get('ETag') or 'W/'
    validator = headers.get('Last-Modified') if validator.startswith('W/') else validator   # weak: of like files
    notes.unlink(missing_ok=True)
    if validator:
        write_json(notes, {'validator': validator})


def _append(answer, part, n_had, n_all, progress):
    n_free = shutil.disk_usage(part.parent).free
    if n_all is not None and n_all - n_had > n_free:
        raise InputError(f'{n_all - n_had:,} bytes are to come, and the disk of {part.parent} has {n_free:,} free.\n'
                         '  Make room, or choose another place with --logbase.')
    bar = Progress if progress and n_all else Silent
    with bar(-(-(n_all or 1) // CHUNK), name='MiB') as report, open(part, 'ab') as file:
        report.update(n=n_had // CHUNK)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            report.update()
