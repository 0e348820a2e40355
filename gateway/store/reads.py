"""Questions of the event loop: answered at once by a file, on a thread of their own by a server.

A read of the embedded database costs microseconds and no thread could be woken so fast. A journey
over the network would hold up every other payment, so there the questions that wait at the same
time travel together.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from gateway.store.raw import Raw

T = TypeVar("T")


class Reads(ABC):
    """Answers questions of one event loop."""

    @abstractmethod
    async def ask(self, question: Callable[[Raw], T]) -> T:
        """Return what a question finds in what was committed before it was asked.

        Args:
            question: Short; only reads. It may run on another thread, and run again if the
                connection was lost.

        Raises:
            Busy: (1006) if the database can't be asked now.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""


class InlineReads(Reads):
    """Asks at once, on the loop's own thread."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    async def ask(self, question: Callable[[Raw], T]) -> T:
        return question(self._raw)

    def close(self) -> None:
        self._raw.close()
