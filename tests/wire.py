"""A wire to a server that can be cut at the worst moment: before or after a word passed through."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit


class Wire:
    """Carries bytes between a client and a server until it is told to break.

    Args:
        url: Where the server is; `url` of the wire leads to the same place through it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._word = b""
        self._lets_through = False
        self._open: list[socket.socket] = []
        port = self._door.getsockname()[1]
        self.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
        self.cuts = 0
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut_at(self, word: bytes, *, lets_through: bool) -> None:
        """Break the next time the client says `word`: before the server hears it, or after.

        Where it lets the word through, the server does as told and its answer is lost.
        """
        self._lets_through = lets_through
        self._word = word

    def cut(self) -> None:
        """Break every connection now."""
        for link in self._open:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for link in (self._door, *self._open):
            link.close()

    def _start(self, work: Callable[..., None], *given: object) -> None:
        self._threads.append(threading.Thread(target=work, args=given, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    self._start(self._carry, source, sink, source is client)

    def _carry(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:
        with suppress(OSError):
            while said := source.recv(65_536):
                if to_server and self._word and self._word in said:
                    self._break(said, source, sink)
                    return
                sink.sendall(said)
        for link in (source, sink):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _break(self, said: bytes, client: socket.socket, server: socket.socket) -> None:
        self._word = b""
        self.cuts += 1
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)  # First, so that no answer slips through.
        if self._lets_through:
            server.sendall(said)
            server.settimeout(10)
            with suppress(OSError):
                server.recv(65_536)  # The server has answered: it is done.
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
