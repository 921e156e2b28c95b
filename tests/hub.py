"""A Hugging Face Hub of one's own, to push to and to pull from with the real client."""

import base64
import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def serve_hub():
    """A Hub on this machine, for as long as this lasts."""
    hub = Hub()
    thread = Thread(target=hub.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class Hub(ThreadingHTTPServer):
    """As much of the Hub as `create_repo`, `upload_folder` and `snapshot_download` need.

    files : {repository: {path: content}}
    """

    def __init__(self):
        super().__init__(('127.0.0.1', 0), _HubHandler)
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.files = {}


class _HubHandler(BaseHTTPRequestHandler):
    commit = 40 * 'a'

    def do_POST(self):
        body = self._body()
        parts = self.path.partition('?')[0].strip('/').split('/')
        if self.path == '/api/repos/create':
            asked = json.loads(body)
            name = f'{asked.get("organization", "me")}/{asked["name"]}'
            self.server.files.setdefault(name, {})
            self._answer({'url': f'{self.server.url}/{name}'})
        elif parts[4:5] == ['preupload']:
            asked = json.loads(body)['files']
            self._answer(
                {'files': [{'path': file['path'], 'uploadMode': 'regular', 'shouldIgnore': False} for file in asked]}
            )
        elif parts[4:5] == ['commit']:
            for line in map(json.loads, body.splitlines()):
                if line['key'] == 'file':
                    value = line['value']
                    self.server.files['/'.join(parts[2:4])][value['path']] = base64.b64decode(value['content'])
            self._answer({'success': True, 'commitOid': self.commit, 'commitUrl': f'{self.server.url}/{self.commit}'})
        else:
            self._answer({}, status=404)

    def do_GET(self):
        parts = self.path.partition('?')[0].strip('/').split('/')
        if parts[:2] == ['api', 'models']:
            name = '/'.join(parts[2:4])
            if name in self.server.files:
                self._answer(
                    {
                        'id': name,
                        'sha': self.commit,
                        'private': False,
                        'tags': [],
                        'downloads': 0,
                        'likes': 0,
                        'siblings': [{'rfilename': path} for path in self.server.files[name]],
                    }
                )
            else:
                self._answer({'error': 'Repository not found'}, status=404, **{'X-Error-Code': 'RepoNotFound'})
        elif parts[2:3] == ['resolve']:
            content = self.server.files['/'.join(parts[:2])]['/'.join(parts[4:])]
            self._answer(content, **{'ETag': f'"{hashlib.sha1(content).hexdigest()}"', 'X-Repo-Commit': self.commit})
        else:
            self._answer({}, status=404)

    do_HEAD = do_GET

    def _body(self):
        if self.headers.get('Transfer-Encoding') != 'chunked':
            return self.rfile.read(int(self.headers.get('Content-Length') or 0))
        body = b''
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _answer(self, content, status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {'Content-Length': len(content), 'Content-Type': 'application/json', **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    def log_message(self, *args):
        pass
