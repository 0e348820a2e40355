"""The demo's child processes: started in order, watched, stopped in reverse, none left behind."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.refusal import Refused

STOP_TIMEOUT_S = 15.0
POLL_S = 0.05
LOG_TAIL_BYTES = 2_000
_PR_SET_PDEATHSIG = 1


class ProcessDied(Refused):
    """A child ended by itself, or never became ready; carries the end of its log."""

    def __init__(self, name: str, what: str, log_path: Path) -> None:
        tail = log_path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
        super().__init__(f"{name} {what}; the end of {log_path}:\n{tail}")
        self.name = name


@dataclass(slots=True)
class Child:
    """One process of the demo."""

    name: str
    process: "subprocess.Popen[bytes]"
    log_path: Path


def die_with_parent() -> None:
    """Ask the kernel to end this child if the demo itself is killed (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Fleet:
    """Starts processes and answers for them; use as a context manager.

    Args:
        log_dir: Where each child's output goes, in `<name>.log`.
        environ: The children's whole environment.
    """

    def __init__(self, log_dir: Path, environ: Mapping[str, str]) -> None:
        self._log_dir = log_dir
        self._environ = dict(environ)
        self._children: list[Child] = []
        log_dir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start one process in a session of its own, so that Ctrl-C reaches only the demo."""
        log_path = self._log_dir / f"{name}.log"
        with log_path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - only one thread runs here
            )
        child = Child(name, process, log_path)
        self._children.append(child)
        return child

    def wait_ready(self, child: Child, url: str, timeout_s: float) -> None:
        """Wait until `url` answers 200.

        Raises:
            ProcessDied: if the child ends first or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.check()
            try:
                if httpx.get(url, timeout=1.0).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # Not listening yet; the loop asks again until the deadline.
            time.sleep(POLL_S)
        raise ProcessDied(child.name, f"did not answer {url} in {timeout_s:.0f} s", child.log_path)

    def check(self) -> None:
        """Raise if a child has ended by itself: nothing is restarted silently.

        Raises:
            ProcessDied: naming the child, with the end of its log.
        """
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                raise ProcessDied(child.name, f"ended with code {code}", child.log_path)

    def stop(self) -> list[str]:
        """Stop all children, last started first; return the names of those it had to kill."""
        killed = []
        for child in reversed(self._children):
            if child.process.poll() is None:
                child.process.terminate()
            try:
                child.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
                killed.append(child.name)
        self._children.clear()
        return killed
