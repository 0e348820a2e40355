"""Run a replay: check the file, send it batch by batch, train on the way, report on the rest."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Connection

from gateway.invariants import check_money, log_is_dense
from gateway.refusal import Refused
from gateway.replay import rows
from gateway.replay.door import Answer, Door, EventClock
from gateway.replay.mapping import Mapping, guess, load
from gateway.replay.report import Report, detect, read_scores
from gateway.sandbox.protocols.house import secret_of
from gateway.sandbox.protocols.registry import keys_in
from gateway.store import outbox
from gateway.store.database import embedded
from gateway.store.merchants import NewMerchant
from gateway.wiring import Gateway
from risk import Feedback

BATCH_ROWS = 64
PAY_DELAY_US = 1_000_000
NOTIFY_URL = "http://127.0.0.1:9/notify"  # Nobody listens in a replay, and nothing is ever sent.
_LABELS = {1: Feedback.FRAUD, 0: Feedback.GENUINE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to replay.

    Attributes:
        path: The history.
        mapping: Shipped mapping's name or a file; None: named like the history.
        rows_max: Only so many rows; None: all.
        train_fraction: Train after this share of the rows; 0 never trains.
        var: Folder of this replay's own state; must hold no gateway yet.
    """

    path: Path
    mapping: str | None
    rows_max: int | None
    train_fraction: float
    var: Path


Build = Callable[[Path, Callable[[], int]], Gateway]
Enrol = Callable[[Path, str, int], NewMerchant]


@dataclass(slots=True)
class _Sent:
    """What became of the rows so far."""

    accepted: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    first_refusal: str = ""
    labelled: int = 0
    labels: list[np.ndarray[tuple[int], np.dtype[np.int8]]] = field(default_factory=list)
    waiting: deque[tuple[int, int, str]] = field(default_factory=deque)  # known_at, label, trade


def run(options: Options, build: Build, enrol: Enrol) -> Report:
    """Replay a history.

    Args:
        options: What to replay.
        build: Builds a gateway on a folder with the given clock, without worker or sandbox.
        enrol: Makes a merchant in a folder: (folder, name, now_us).

    Raises:
        InputRefused: if a row or the mapping doesn't fit; nothing was replayed.
        Refused: if the folder holds a gateway's state already.
    """
    # The report counts what is degraded; a line for each would tear the progress bar apart.
    logging.getLogger("yumen").setLevel(logging.ERROR)
    mapping = load(options.mapping or guess(options.path))
    console = Console(stderr=True)
    with console.status(f"checking {options.path.name}"):
        extent = rows.check(options.path, mapping, options.rows_max)
    if embedded(options.var).exists():
        raise Refused(f"{options.var} holds a gateway's state; choose a new folder with --var")
    options.var.mkdir(parents=True, exist_ok=True)
    merchants = {name: enrol(options.var, name, extent.first_at_us) for name in extent.merchants}
    clock = EventClock(extent.first_at_us)
    gateway = build(options.var, clock)
    if gateway.app is None:
        raise RuntimeError("a gateway without doors can't be replayed through")
    door = Door(gateway.app, clock, secret_of(keys_in(options.var)))
    with _progress(console) as progress:
        session = _Session(options, mapping, extent, merchants, gateway, clock, door, progress)
        return asyncio.run(session.run())


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
    )


class _Session:
    """One replay under way."""

    def __init__(
        self,
        options: Options,
        mapping: Mapping,
        extent: rows.Extent,
        merchants: dict[str, NewMerchant],
        gateway: Gateway,
        clock: EventClock,
        door: Door,
        progress: Progress,
    ) -> None:
        self._options = options
        self._mapping = mapping
        self._extent = extent
        self._merchants = merchants
        self._gateway = gateway
        self._clock = clock
        self._door = door
        self._progress = progress
        self._sent = _Sent()
        self._model_version = "none"
        self._train_at = int(extent.rows * options.train_fraction)
        self._is_due = self._train_at > 0
        self._hindsight = False
        self._not_trained = ""
        self._started_s = 0.0
        self._training_s = 0.0

    async def run(self) -> Report:
        self._started_s = time.perf_counter()
        task = self._progress.add_task("replaying", total=self._extent.rows, speed="")
        done = 0
        for chunk in rows.chunks(self._options.path, self._mapping, self._options.rows_max):
            self._sent.labels.append(chunk.labels)
            for start in range(0, len(chunk), BATCH_ROWS):
                if self._is_due and done >= self._train_at:
                    self._train(done)
                count = min(BATCH_ROWS, len(chunk) - start)
                await self._batch(chunk, start, count, done)
                done += count
                speed = done / (time.perf_counter() - self._started_s - self._training_s)
                self._progress.update(task, completed=done, speed=f"{speed:,.0f}/s")
        seconds = time.perf_counter() - self._started_s - self._training_s
        await self._gateway.context.writer.close()
        return self._report(seconds)

    async def _batch(self, chunk: rows.Chunk, start: int, count: int, done: int) -> None:
        """Send `count` payments at once, let them be paid, then tell what became known."""
        places = range(start, start + count)
        first_us = int(chunk.at_us[start])
        await self._tell(first_us)
        answers = await asyncio.gather(
            *(self._create(chunk, place, done + place - start) for place in places)
        )
        self._clock.advance(int(chunk.at_us[start + count - 1]))
        await asyncio.gather(*self._payments(chunk, places, answers))
        for place, answer in zip(places, answers, strict=True):
            self._note(chunk, place, answer)
        await self._place_facts()

    async def _create(self, chunk: rows.Chunk, place: int, row: int) -> Answer:
        params = {
            "out_trade_no": f"R{row:09d}",
            "total_amount": _major(int(chunk.amount_minor[place]), self._mapping.amount.currency),
            "currency": self._mapping.amount.currency,
            "subject": chunk.subjects[place],
            "pay_type": chunk.pay_types[place],
            "notify_url": NOTIFY_URL,
        }
        if chunk.contexts[place]:
            params["risk_context"] = chunk.contexts[place]
        merchant = self._merchants[chunk.merchants[place]]
        return await self._door.create(merchant, params, int(chunk.at_us[place]))

    def _payments(
        self, chunk: rows.Chunk, places: range, answers: list[Answer]
    ) -> "Iterable[asyncio.Task[Answer]]":
        for place, answer in zip(places, answers, strict=True):
            if answer.fields.get("pay_url"):
                yield asyncio.create_task(
                    self._door.paid(
                        answer.fields["trade_no"],
                        int(chunk.amount_minor[place]),
                        self._mapping.amount.currency,
                        int(chunk.at_us[place]) + PAY_DELAY_US,
                    )
                )

    def _note(self, chunk: rows.Chunk, place: int, answer: Answer) -> None:
        trade_no = answer.fields.get("trade_no", "")
        if not trade_no:
            self._sent.refusals[str(answer.fields.get("error_code", answer.http_status))] += 1
            if not self._sent.first_refusal:
                row = chunk.first_row + place
                self._sent.first_refusal = f"row {row}: {answer.fields.get('msg', '')}"
            return
        self._sent.accepted += 1
        label = int(chunk.labels[place])
        if label in _LABELS:
            self._sent.waiting.append((int(chunk.known_at_us[place]), label, trade_no))

    async def _tell(self, now_us: int) -> None:
        """Report the labels that have become known by `now_us`."""
        known, waiting = [], self._sent.waiting
        if self._mapping.label.known_at_column:  # Each row has its own delay: no order to rely on.
            known = sorted(entry for entry in waiting if entry[0] <= now_us)
            self._sent.waiting = deque(entry for entry in waiting if entry[0] > now_us)
        else:
            while waiting and waiting[0][0] <= now_us:
                known.append(waiting.popleft())
        if not known:
            return
        self._sent.labelled += len(known)

        def report(conn: Connection) -> None:
            for known_at_us, label, trade_no in known:
                outbox.report(conn, trade_no, _LABELS[label], known_at_us, source="history")

        await self._gateway.context.writer.run(report)
        await self._place_facts()

    async def _place_facts(self) -> None:
        if self._gateway.place_feedback is None:
            raise RuntimeError("the replay's gateway must own its feature state")
        while await self._gateway.place_feedback.run_once():
            pass

    def _train(self, done: int) -> None:
        """Train on the log so far with what is known by now, and let the gateway pick it up."""
        from gateway.training import LaterLabel, NotTrained, train_on_log

        started_s = time.perf_counter()
        task = self._progress.add_task(f"training on {done:,} rows", total=1.0, speed="")
        self._train_at, self._is_due = done, False

        def show(share: float, what: str) -> None:
            self._progress.update(task, completed=share, speed=what)

        later = [LaterLabel(at_us, trade, _LABELS[n]) for at_us, n, trade in self._sent.waiting]
        try:
            with self._gateway.context.reader.connect() as conn:
                self._model_version, self._hindsight = train_on_log(
                    conn, self._options.var, known_by_us=self._clock(), later=later, progress=show
                )
        except NotTrained as problem:
            self._not_trained = str(problem)
        else:
            risk = self._gateway.context.risk
            if risk is None or not risk.refresh_model():
                raise RuntimeError(f"the gateway did not take up model {self._model_version}")
        self._progress.update(task, completed=1.0, speed=self._model_version)
        self._training_s += time.perf_counter() - started_s

    def _report(self, seconds: float) -> Report:
        labels = np.concatenate(self._sent.labels)
        ids = [merchant.merchant_id for merchant in self._merchants.values()]
        with self._gateway.context.reader.connect() as conn:
            scored = read_scores(conn, ids, self._extent.rows)
            findings = [*check_money(conn), log_is_dense(conn)]
        tested = scored.stored & (np.arange(len(labels)) >= self._train_at)
        broken = [f"{f.name}: {f.detail}" for f in findings if not f.held]
        if self._sent.first_refusal:
            broken.append(f"first refused {self._sent.first_refusal}")
        p50_us, p99_us = np.percentile(scored.elapsed_us, [50, 99])
        return Report(
            file=self._options.path.name,
            mapping=self._mapping.name,
            rows=self._extent.rows,
            accepted=self._sent.accepted,
            refused=sum(self._sent.refusals.values()),
            labelled=int(np.count_nonzero(labels >= 0)),
            zero_amounts_replaced=self._extent.zero_count,
            outcomes=scored.outcomes,
            train_rows=self._train_at if self._model_version != "none" else 0,
            train_labels="in hindsight" if self._hindsight else "known in time",
            not_trained=self._not_trained,
            model_version=self._model_version,
            detection=detect(labels[tested], scored.score[tested], scored.declined[tested]),
            seconds=round(seconds, 3),
            creates_per_s=round(self._extent.rows / seconds, 1),
            assess_p50_us=float(p50_us),
            assess_p99_us=float(p99_us),
            degraded=scored.degraded,
            ledger_balanced=all(finding.held for finding in findings),
            broken=tuple(broken),
            var=str(self._options.var),
        )


def _major(amount_minor: int, currency: str) -> str:
    from gateway.domain.money import to_major

    return str(to_major(amount_minor, currency))
