"""Keep what the background knows of users' communities in the log; only the state's owner may.

Now and then (`interval_s`), or when `REQUEST` lies in the folder, a process of its own looks at
the log (`gateway.worker.survey`); its rows then get their places in the log, a few at a time, so
that no payment waits long for it. If anything dies on the way, the rows that got no place are found
due again by the next run: there is nothing to repair.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.payments.context import Context
from gateway.store.database import Database

REQUEST = "graph.refresh"
REPORT = "graph.json"
SLICE_COUNT = 20
DIED_CHARACTERS = 2_000
Found = Mapping[str, Any]
_log = logging.getLogger("yumen.communities")


class SurveyFailed(RuntimeError):
    """The process that looks for communities ended badly; its last words are in the message."""


async def in_a_process(database: Database, now_us: int) -> Found:
    """Run the survey beside the gateway.

    Raises:
        SurveyFailed: it ended with an error.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.worker.survey",
        str(now_us),
        stdin=asyncio.subprocess.PIPE,  # A URL may hold a password: it is no argument.
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate(database.url.encode())
    finally:
        if process.returncode is None:  # We are told to stop: nobody will hear what it finds.
            process.kill()
            await process.wait()
    if process.returncode:
        raise SurveyFailed(err.decode(errors="replace")[-DIED_CHARACTERS:])
    found: Found = json.loads(out)
    return found


class CommunityRefresher:
    """Refreshes the communities when it is time.

    Args:
        context: Of the process that owns the feature state.
        var: Folder of the embedded state.
        database: What the survey reads.
        interval_s: Pause between two runs; 0 runs only when asked.
        survey: Looks for communities.
    """

    def __init__(
        self,
        context: Context,
        var: Path,
        database: Database,
        *,
        interval_s: int,
        survey: Callable[[Database, int], Awaitable[Found]] = in_a_process,
    ) -> None:
        self._context = context
        self._var = var
        self._database = database
        self._interval_us = interval_s * 1_000_000
        self._survey = survey
        # A gateway that starts has other things to do than to look at an hour of its past.
        self._last_us = last_refresh_us(var) or context.clock_us()

    async def run_once(self) -> int:
        """Refresh if it is due or asked for; return how many rows were written."""
        asked = (self._var / REQUEST).exists()
        now_us = self._context.clock_us()
        due = self._interval_us > 0 and now_us - self._last_us >= self._interval_us
        if not due and not asked:
            return 0
        (self._var / REQUEST).unlink(missing_ok=True)
        # Before the work: a run that fails is tried again after a whole pause.
        self._last_us = now_us
        report = await self.refresh()
        return int(report["placed"])

    async def refresh(self) -> Found:
        """Look now, write what is due, and return the report that `REPORT` keeps."""
        context = self._context
        if context.risk is None:
            raise RuntimeError("only the owner of the feature state writes communities")
        now_us = context.clock_us()
        await context.writer.run_raw(lambda _raw: None)  # The log's newest events go to disk.
        found = await self._survey(self._database, now_us)
        rows = found["rows"]
        for first in range(0, len(rows), SLICE_COUNT):
            for user, community, fraud_ppm, pagerank_ppm, core in rows[first : first + SLICE_COUNT]:
                event = context.risk.attribute(
                    user,
                    (community, fraud_ppm, pagerank_ppm, core),
                    now_us=context.clock_us(),
                    ref_seq=found["ref_seq"],
                )
                context.log.append(event)
            await context.writer.run_raw(lambda _raw: None)
        report = {name: value for name, value in found.items() if name != "rows"}
        report |= {"placed": len(rows), "at_us": now_us}
        _keep(self._var / REPORT, report)
        _log.info("communities: %s", report)
        return report


def request(var: Path) -> None:
    """Ask the gateway that runs on `var` for a refresh; it looks every poll of its worker."""
    (var / REQUEST).touch()


def last_report(var: Path) -> Found | None:
    """Return what the last refresh on `var` reported, None if there was none."""
    try:
        report: Found = json.loads((var / REPORT).read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return report


def last_refresh_us(var: Path) -> int:
    """Return when the last refresh stood for, 0 if there was none."""
    report = last_report(var)
    return int(report["at_us"]) if report else 0


def _keep(path: Path, report: Found) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(report), "utf-8")
    draft.replace(path)
