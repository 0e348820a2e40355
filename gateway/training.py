"""Train from wherever history is: the gateway's own log, a mapped file, or the synthetic world.

Lives beside the command line because it joins rooms that must not know each other: the gateway's
tables, the files of `gateway.replay`, and `models`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Connection, text

from gateway.refusal import Refused
from gateway.replay import rows
from gateway.replay.mapping import Mapping, guess, load
from gateway.store.database import Database
from models.dataset import Dataset, PastPayment, from_events, from_history, from_log
from models.evaluate import Unmeasurable
from models.registry import NotPromotable, Registry
from models.train import TrainedModel, train
from risk import Feedback
from risk.features import event
from risk.geo import newest
from risk.transaction import EMPTY_CONTEXT, RiskContext, Transaction

Show = Callable[[float, str], None]
_RISK_CONTEXT = msgspec.json.Decoder(RiskContext)


class NotTrained(Exception):
    """There is too little to learn from; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where to learn from; exactly one is chosen."""

    synthetic: bool = False
    from_history: bool = False
    data: Path | None = None
    mapping: str | None = None

    def check(self) -> None:
        """Raise `Refused` unless exactly one source is chosen."""
        if self.synthetic + self.from_history + (self.data is not None) != 1:
            raise Refused("choose one of --synthetic, --from-history and --data FILE")


def train_and_register(
    database: Database, var: Path, source: Source, *, seed: int, promote: bool, now_us: int
) -> dict[str, object]:
    """Train, register in MLflow and, if asked, promote; shows a progress bar.

    Args:
        database: The gateway's own history.
        var: Folder of models and address tables.
        source: Where to learn from.
        seed: Of everything random.
        promote: Let the new model decide from now on.
        now_us: What was known by now may be learnt from.

    Returns:
        Version, whether it was promoted, and its metrics.

    Raises:
        Refused: if no single source is chosen or it doesn't fit.
    """
    source.check()
    with progress_bar("training") as show:
        trained, run_name = _trained(database, var, source, seed=seed, now_us=now_us, show=show)
        registry = Registry(var)
        version = registry.register(trained, run_name=run_name)
        if promote:
            registry.promote(version)
        show(1.0, version)
    return {"version": version, "promoted": promote, **trained.metrics}


def ensure_first_model(var: Path) -> str:
    """Return the model that decides; train one on synthetic payments if there is none yet."""
    if (var / "bundles" / "champion.json").is_file():
        return Registry(var).champion() or "unknown"
    from models.synthetic import bootstrap

    with progress_bar("first model") as show:
        return bootstrap(var, progress=show)


@dataclass(frozen=True, slots=True)
class LaterLabel:
    """A label that was not known yet: whose, what, and when it will be."""

    known_at_us: int
    trade_no: str
    label: Feedback


def train_on_log(
    conn: Connection,
    var: Path,
    *,
    known_by_us: int,
    later: Sequence[LaterLabel] = (),
    progress: Show,
) -> tuple[str, bool]:
    """Train on the event log, register, promote.

    Args:
        conn: A connection to read the log from.
        var: Folder of the embedded state.
        known_by_us: Only labels known by then are learnt from.
        later: Labels to add in hindsight if too few were known by then. Features are untouched:
            they never see a label before its time.
        progress: Told a fraction and what is going on.

    Returns:
        The version that now decides, and whether it learnt in hindsight.

    Raises:
        NotTrained: if there is too little to learn from either way.
    """
    registry, hindsight = Registry(var), False
    try:
        try:
            trained = train(_log_dataset(conn, known_by_us), progress=progress)
        except Unmeasurable:
            if not later:
                raise
            hindsight = True
            trained = train(_hindsight_dataset(conn, later), progress=progress)
        how = "in hindsight" if hindsight else f"known by {known_by_us} us"
        version = registry.register(trained, run_name=f"event log, labels {how}")
        registry.promote(version)
    except (Unmeasurable, NotPromotable) as problem:
        raise NotTrained(str(problem)) from problem
    return version, hindsight


def _hindsight_dataset(conn: Connection, later: Sequence[LaterLabel]) -> Dataset:
    log = conn.execute(text("SELECT seq, kind, trade_no, payload FROM risk_events ORDER BY seq"))
    rows = log.all()
    places = {row.trade_no: row.seq - 1 for row in rows if row.kind == "ATTEMPT"}
    events = event.stack([row.payload for row in rows])
    labels = [
        event.encode_feedback(
            told.label, events[places[told.trade_no]], seq=seq, known_at_us=told.known_at_us
        )
        for seq, told in enumerate(sorted(later, key=lambda told: told.known_at_us), len(rows) + 1)
    ]
    return from_events(np.vstack([events, *labels]))


def _trained(
    database: Database, var: Path, source: Source, *, seed: int, now_us: int, show: Show
) -> tuple[TrainedModel, str]:
    if source.synthetic:
        from models.bootstrap import train_synthetic

        return train_synthetic(seed=seed, progress=show), f"synthetic, seed {seed}"
    if source.data is not None:
        mapping = load(source.mapping or guess(source.data))
        events = from_history(past_payments(source.data, mapping), newest(var / "geo"))
        dataset = from_events(events)
        return train(dataset, seed=seed, progress=show), f"{source.data.name}, seed {seed}"
    from gateway.queries.reader import ReaderError, open_reader

    try:
        with open_reader(database).connect() as conn:
            dataset = _log_dataset(conn, now_us)
    except ReaderError as problem:
        raise Refused(str(problem)) from problem
    return train(dataset, seed=seed, progress=show), f"own history, seed {seed}"


def _log_dataset(conn: Connection, known_by_us: int) -> Dataset:
    log = conn.execute(text("SELECT payload FROM risk_events ORDER BY seq"))
    return from_log((payload for (payload,) in log), known_by_us=known_by_us)


def past_payments(path: Path, mapping: Mapping) -> Iterator[PastPayment]:
    """Read a mapped file as history to learn from.

    Raises:
        InputRefused: at the first row that doesn't fit.
    """
    for chunk in rows.chunks(path, mapping):
        for place in range(len(chunk)):
            known = bool(chunk.labels[place] >= 0)
            context = chunk.contexts[place]
            yield PastPayment(
                transaction=Transaction(
                    event_id=f"R{chunk.first_row + place:09d}",
                    merchant_id=chunk.merchants[place],
                    amount_minor=int(chunk.amount_minor[place]),
                    currency=mapping.amount.currency,
                    pay_type=chunk.pay_types[place],
                    context=_RISK_CONTEXT.decode(context) if context else EMPTY_CONTEXT,
                ),
                at_us=int(chunk.at_us[place]),
                is_fraud=bool(chunk.labels[place] == 1) if known else None,
                label_known_at_us=int(chunk.known_at_us[place]) if known else None,
            )


@contextmanager
def progress_bar(title: str) -> Iterator[Show]:
    """Show a progress bar on standard error; the block gets ``show(share, what)``."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}% {task.fields[what]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    task = progress.add_task(title, total=1.0, what="")
    with progress:
        yield lambda share, what: progress.update(task, completed=share, what=what)
