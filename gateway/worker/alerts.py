"""Write the alerts that were counted, off the hot path."""

from gateway.store.alerts import AlertBook, write
from gateway.store.unit_of_work import Writer


class AlertWriter:
    """Moves alerts from memory to the table."""

    def __init__(self, book: AlertBook, writer: Writer) -> None:
        self._book = book
        self._writer = writer

    async def run_once(self) -> int:
        """Write what waits and return 0: the next look may come after the usual pause.

        Raises:
            Busy: (1006) if the database can't be written now; nothing is lost.
        """
        taken = self._book.take()
        if taken:
            try:
                await self._writer.run(lambda conn: write(conn, taken))
            except BaseException:
                self._book.give_back(taken)
                raise
        return 0
