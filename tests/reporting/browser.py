"""Chromium without a window, spoken to in the DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

#: The mark of a test that needs it, and those of a file full of such tests.
needs_browser = pytest.mark.skipif(EXECUTABLE is None, reason="needs chromium or google-chrome on the PATH")
IN_BROWSER = [pytest.mark.slow, needs_browser]

#: The browser reads commands from file descriptor 3 and writes to 4; only bash takes descriptors above 9.
_WITH_PIPES = 'commands=$1; answers=$2; shift 2; exec "$@" 3<&"$commands" 4>&"$answers"'

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
          "--remote-debugging-pipe", "--force-color-profile=srgb", "--hide-scrollbars")  # fmt: skip


class Page:
    """A tab.

    Attributes:
        problems: What was written to the console as a warning or an error, and exceptions nobody caught.
        requests: Addresses of everything that was asked for.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._received = b""
        self._count = 0
        self._session = ""
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._events: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._count:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def open(self, path: Path, width: int = 1280, height: int = 900, *, scheme: str = "light") -> None:
        """Loads a file and waits until it has loaded."""
        self.resize(width, height)
        self.emulate(scheme=scheme)
        self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._receive()
        self._events.clear()

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def emulate(self, *, scheme: str = "light", media: str = "") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"])
        return done["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 30) -> None:
        """Waits until a JavaScript expression is true."""
        reached = self.evaluate(f"""new Promise((resolve) => {{
            const end = Date.now() + {1000 * seconds};
            const look = () => {{
                if ({condition}) resolve(true);
                else if (Date.now() > end) resolve(false);
                else setTimeout(look, 30);
            }};
            look();
        }})""")
        assert reached, f"not reached in {seconds} s: {condition}"

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                      **({"text": text} if text and kind == "keyDown" else {}))  # fmt: skip

    def screenshot(self, width: int, height: int) -> bytes:
        """The upper left corner of the page as PNG."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", clip=clip)["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise EOFError("the browser has closed the pipe")
            self._received += part
        line, self._received = self._received.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
            self.problems.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("warning", "error", "assert"):
            self.problems.append(json.dumps(parameters["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a browser whose profile lies in a folder; the browser ends with the context."""
    assert EXECUTABLE
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    arguments = [EXECUTABLE, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(
        ["bash", "-c", _WITH_PIPES, "bash", str(commands_out), str(answers_in), *arguments],
        pass_fds=(commands_out, answers_in),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(commands_out)
        os.close(answers_in)
        try:
            yield Page(commands_in, answers_out)
        finally:
            process.kill()
            os.close(commands_in)
            os.close(answers_out)


@contextmanager
def quiet(page: Page) -> Iterator[Page]:
    """Checks that nothing is written to the console, and nothing but files asked for, for the length of a block."""
    page.problems.clear()
    page.requests.clear()
    yield page
    assert page.problems == []
    assert [address for address in page.requests if not address.startswith(("file:", "data:"))] == []
