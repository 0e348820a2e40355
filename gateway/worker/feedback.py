"""Give facts about payments their place in the risk log; only the state's owner may do this.

Whoever learns a fact (a channel's callback, an analyst, a chargeback) writes it to the inbox in
the transaction that establishes it. The owner reads the inbox in order, applies each fact to the
feature state, and commits log row and place together.
"""

import logging

from sqlalchemy import Connection, select, update

from gateway.payments.context import Context
from gateway.store.tables import risk_events, risk_inbox
from risk import EventKind, Feedback

BATCH_COUNT = 500
UNPLACEABLE_SEQ = -1  # No attempt of that number was ever assessed.
_log = logging.getLogger("yumen.feedback")


class FeedbackPlacer:
    """Moves facts from the inbox into the log."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Applied to the state but not yet known to be on disk: never apply these twice.
        self._placed: dict[int, int] = {}

    async def run_once(self) -> int:
        """Place all facts that wait, up to a batch; return how many."""
        context = self._context
        if context.risk is None:
            raise RuntimeError("only the owner of the feature state places facts")
        with context.reader.connect() as conn:
            rows = conn.execute(_WAITING).all()
        if not rows:
            return 0
        places: dict[int, int] = {}
        for row in rows:
            if row.id in self._placed:
                places[row.id] = self._placed[row.id]
            elif row.payload is None:
                _log.warning("a %s about unknown payment %s is left out", row.kind, row.trade_no)
                places[row.id] = UNPLACEABLE_SEQ
            else:
                event = context.risk.record(
                    Feedback(row.kind),
                    attempt=row.payload,
                    trade_no=row.trade_no,
                    known_at_us=row.known_at_us,
                    amount_minor=row.amount_minor,
                )
                context.log.append(event)
                places[row.id] = event.seq
        self._placed |= places
        await context.writer.run(lambda conn: _write(conn, places))
        for row_id in places:
            self._placed.pop(row_id, None)  # A second caller may have finished it first.
        return len(places)


_attempt = risk_events.alias("attempt")
_WAITING = (
    select(
        risk_inbox.c.id,
        risk_inbox.c.kind,
        risk_inbox.c.trade_no,
        risk_inbox.c.known_at_us,
        risk_inbox.c.amount_minor,
        _attempt.c.payload,
    )
    .outerjoin(
        _attempt,
        (_attempt.c.trade_no == risk_inbox.c.trade_no)
        & (_attempt.c.kind == EventKind.ATTEMPT.value),
    )
    .where(risk_inbox.c.seq.is_(None))
    .order_by(risk_inbox.c.id)
    .limit(BATCH_COUNT)
)


def _write(conn: Connection, places: dict[int, int]) -> None:
    for row_id, seq in places.items():
        conn.execute(update(risk_inbox).where(risk_inbox.c.id == row_id).values(seq=seq))
