from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mlabench.encoders.hub import require_hub
from mlabench.errors import UserError


class NotFound(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(404)

    def log_message(self, *arguments):
        """Says nothing."""


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")


def test_any_answer_will_do(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), NotFound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        require_hub("a/b", "Remedy.")
        server.shutdown()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "no address"])
def test_no_answer(monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(
        UserError, match=rf"'a/b' is not in the local cache, and {endpoint} cannot be reached\. Remedy\."
    ):
        require_hub("a/b", "Remedy.")


def test_offline_by_wish(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        require_hub("a/b", "Remedy.")
