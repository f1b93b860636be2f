"""A real Chromium, driven through pipes: no port is opened and no library is needed.

Chromium reads the DevTools protocol from file descriptor 3 and answers on 4, in JSON messages that end in NUL.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PATIENCE_S = 90.0
# descriptors 3 and 4 may be anybody's in this process, so a process between puts the pipes there
_LAUNCH = "import os, sys; a, b, *c = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4); os.execvp(c[0], c)"


def chromium_path() -> str:
    """The browser; without one the test is skipped, unless ``LICHEN_REQUIRE_CHROMIUM`` forbids that."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        assert "LICHEN_REQUIRE_CHROMIUM" not in os.environ
        pytest.skip("no chromium here; apt-get install chromium")
    return browser


class Tab:
    """A page in the browser, with all that it complained about and asked for."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._number, self._session = to_browser, from_browser, 0, ""
        self._unread = b""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._loaded = 0
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        """The browser's answer to a command; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, page: Path) -> None:
        """Load a file, anew if it is there already, and wait until its scripts have run."""
        before = self._loaded
        self.complaints.clear()
        self.requests.clear()
        self.send("Page.navigate", url=page.as_uri())
        while self._loaded == before:
            self._receive()

    def run(self, script: str) -> Any:
        """The JSON value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def enter(self, name: str, value: str) -> None:
        """Put a value into a field as a person does, who chooses or types and leaves the field."""
        field = f"document.getElementById({json.dumps(name)})"
        self.run(f"{field}.value = {json.dumps(value)}")
        assert self.run(f"{field}.value") == value, f"{name} has no {value}"
        for event in ("input", "change"):
            self.run(f"{field}.dispatchEvent(new Event('{event}', {{bubbles: true}}))")

    def text(self, name: str) -> str:
        """What the page shows in an element."""
        return str(self.run(f"document.getElementById({json.dumps(name)}).innerText"))

    def _receive(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE_S
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._from], [], [], max(until - time.monotonic(), 0))
            piece = os.read(self._from, 1 << 16) if ready else b""
            assert piece, "chromium does not answer"
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded += 1
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str([part.get("value") for part in params["args"]]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])


@contextmanager
def browser_tab(profile: Path, *switches: str) -> Iterator[Tab]:
    """A tab of a browser of its own, which is closed at the end."""
    command = [chromium_path(), *SWITCHES, f"--user-data-dir={profile}", "--remote-debugging-pipe", *switches]
    pipes = [os.pipe(), os.pipe()]
    # well above 3 and 4, so that putting one of them there cannot close the other
    theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (pipes[0][0], pipes[1][1])]
    ours = (pipes[0][1], pipes[1][0])
    os.close(pipes[0][0])
    os.close(pipes[1][1])
    with (profile.parent / f"{profile.name}-stderr").open("wb") as log:
        launch = [sys.executable, "-c", _LAUNCH, *map(str, theirs), *command]
        process = subprocess.Popen(launch, pass_fds=theirs, stdout=log, stderr=log)
    for fd in theirs:
        os.close(fd)
    try:
        yield Tab(*ours)
    finally:
        os.close(ours[0])  # the end of its orders is an order to close
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours[1])
