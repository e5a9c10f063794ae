"""A real Redis server for tests: Debian's, on a free port of the loopback, in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

PATIENCE_SECONDS = 30.0
"""How long anything may take that is over in a moment on a machine at rest."""

_ATTEMPTS = 3


class RedisServer:
    """One redis-server; `options` are those of redis.conf. It keeps its port when it is started again."""

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError(
                "redis-server is not on the PATH, and tests of the Redis store need it: install it "
                "(Debian: apt install redis-server)"
            )
        self._binary = binary
        self.folder = folder
        self._options = {"bind": "127.0.0.1", "save": "", "appendonly": "no", **(options or {})}
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            try:
                self.start()
                return
            except RuntimeError:  # another process may have taken the port meanwhile
                if attempt == _ATTEMPTS - 1:
                    raise

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it and waits until it serves."""
        command = [self._binary, "--port", str(self.port), "--dir", str(self.folder)]
        for name, value in self._options.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        self._lines: list[str] = []
        self._written = threading.Condition()
        # Somebody has to read: Redis would wait for room in the pipe.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.wait_until_logged("Ready to accept connections")
        except BaseException:
            self.kill()
            raise

    def wait_until_logged(self, text: str, *, times: int = 1) -> None:
        """Waits until that many lines of this start's log have the text."""

        def logged() -> bool:
            return sum(text in line for line in self._lines) >= times or not self._reader.is_alive()

        with self._written:
            self._written.wait_for(logged, timeout=PATIENCE_SECONDS)
            if sum(text in line for line in self._lines) < times:
                raise RuntimeError(f"redis-server did not log {text!r}, but:\n{''.join(self._lines)}")

    def pause(self) -> None:
        """Lets it take connections and bytes, as the kernel does for it, and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it at once: what it had not written to disk is lost."""
        self._process.kill()
        self._ended()

    def stop(self) -> None:
        """Ends it in good order."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()

    def _ended(self) -> None:
        self._process.wait(timeout=PATIENCE_SECONDS)
        self._reader.join(timeout=PATIENCE_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        process, lines, written = self._process, self._lines, self._written
        assert process.stdout is not None
        for line in process.stdout:
            with written:
                lines.append(line)
                written.notify_all()
        with written:
            written.notify_all()


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
