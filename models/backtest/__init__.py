"""Back-tests: any draft rule, list, threshold or model over stored history, beside what is in use.

`backtest(history, present, change, question)` decides every payment twice and returns a `Report`.
A `History` comes from the gateway's database (`gateway.backtest`), from the cache of columns it
keeps, or from a log replayed through the kernel (`replayed`).
"""

from models.backtest.history import History, NoHistory
from models.backtest.replaying import extended, replayed
from models.backtest.report import Report
from models.backtest.run import backtest, count_hits
from models.backtest.scoring import BatchModel, load_model
from models.backtest.setup import Change, Question, Setup, UnknownRule

__all__ = [
    "BatchModel",
    "Change",
    "History",
    "NoHistory",
    "Question",
    "Report",
    "Setup",
    "UnknownRule",
    "backtest",
    "count_hits",
    "extended",
    "load_model",
    "replayed",
]
