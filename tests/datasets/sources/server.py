"""A web server of one's own that can be made to misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import unquote


@dataclass
class Server:
    """What is served, and how; ``asked`` holds the path and the ``Range`` of each request.

    Attributes:
        files: Content by path.
        etags: Tag by path.
        breaks: By path, after how many bytes of each next answer the connection is closed; one is used up each time.
        statuses: By path, with which status the next requests are refused; one is used up each time.
        redirects: From path to address.
        ranges: Whether parts of files are served.
        stalls: By path, after how many bytes nothing more comes until ``released``.
    """

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    stalls: dict[str, int] = field(default_factory=dict)
    stalled: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path).lstrip("/")
        wanted = request.headers.get("Range")
        self.asked.append((path, wanted))
        if self.statuses.get(path):
            self._refuse(request, self.statuses[path].pop(0))
        elif path in self.redirects:
            request.send_response(302)
            request.send_header("Location", self.redirects[path])
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif path not in self.files:
            self._refuse(request, 404)
        else:
            self._serve(request, path, wanted)

    def _serve(self, request: BaseHTTPRequestHandler, path: str, wanted: str | None) -> None:
        content, tag = self.files[path], self.etags.get(path)
        condition = request.headers.get("If-Range")
        start = 0
        if wanted and self.ranges and (condition is None or condition == tag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self._refuse(request, 416, {"Content-Range": f"bytes */{len(content)}"})
                return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if tag:
            request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        rest = content[start:]
        if self.breaks.get(path):
            rest = rest[: self.breaks[path].pop(0)]
            request.close_connection = True
        if path in self.stalls:
            before = self.stalls.pop(path)
            request.wfile.write(rest[:before])
            request.wfile.flush()
            self.stalled.set()
            self.released.wait(60)
            request.close_connection = True
            return
        request.wfile.write(rest)
        self.sent += len(rest)

    @staticmethod
    def _refuse(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None) -> None:
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()


@contextmanager
def serving() -> Iterator[Server]:
    """Starts a server, and stops it in the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up is what some tests are about."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        server = Server(f"http://127.0.0.1:{http.server_port}/")
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            http.shutdown()
            thread.join()
