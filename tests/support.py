"""What several tests need: the golden archives, models made from them, and a server to download from."""

import json
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import numpy as np
import torch

from trajectory.models.transformers import GPT

GOLDEN = Path(__file__).parent / 'golden'


def golden(name):
    """The arrays of one archive; a string is JSON, and is read."""
    with np.load(GOLDEN / f'{name}.npz') as archive:
        return {
            key: json.loads(str(archive[key]))
            if archive[key].dtype.kind == 'U' and '{' in str(archive[key])
            else archive[key]
            for key in archive.files
        }


def make_gpt(config, state=None, dtype=torch.float32, kind=GPT):
    """A model in evaluation mode.    state : {name: array}, its weights"""
    model = kind(SimpleNamespace(**config)).to(dtype).eval()
    if state is not None:
        model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return model


def state_of(arrays, group='state'):
    """The weights among golden arrays: `state/NAME` -> NAME."""
    return {name.removeprefix(f'{group}/'): value for name, value in arrays.items() if name.startswith(f'{group}/')}


@contextmanager
def serve(content: bytes, **behaviour):
    """A real server on this machine, for as long as this lasts; `Server` says how it may behave."""
    server = Server(content, **behaviour)
    thread = Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Server(ThreadingHTTPServer):
    """Gives one file, whole or in part.

    cuts     : after how many bytes the first answers end; later ones are whole
    errors   : the status of the first answers
    etag     : None for a server that takes no part orders
    measured : False for one that does not say how much will come
    stalls   : after how many bytes the first answers wait until `go_on` is set
    shift    : bytes by which a part begins later than it was asked for

    `asked` lists what part each request was for, `paths` what file.
    """

    def __init__(self, content, cuts=(), errors=(), etag='"1"', measured=True, stalls=(), shift=0):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.content, self.cuts, self.errors, self.etag, self.measured = content, [*cuts], [*errors], etag, measured
        self.stalls, self.shift, self.go_on = [*stalls], shift, Event()
        self.url = f'http://127.0.0.1:{self.server_port}/file'
        self.asked, self.paths = [], []


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, begin = self.server, 0
        server.asked.append(self.headers.get('Range'))
        server.paths.append(self.path)
        if server.errors:
            self.send_error(server.errors.pop(0))
            return
        if server.etag and self.headers.get('If-Range') == server.etag:
            begin = int(self.headers['Range'].removeprefix('bytes=').removesuffix('-')) + server.shift
        if begin and begin >= len(server.content):
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(server.content)}')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header('Content-Range', f'bytes {begin}-{len(server.content) - 1}/{len(server.content)}')
        if server.measured:
            self.send_header('Content-Length', str(len(server.content) - begin))
        if server.etag:
            self.send_header('ETag', server.etag)
        self.end_headers()
        end = server.cuts.pop(0) if server.cuts else len(server.content)
        if server.stalls:
            pause = server.stalls.pop(0)
            self.wfile.write(server.content[begin:pause])
            begin = pause
            server.go_on.wait()
        with suppress(ConnectionError):  # of a client that did not wait
            self.wfile.write(server.content[begin:end])

    def log_message(self, *args):
        pass
