"""The state on disk: a snapshot plus the tail of the log equals never having stopped.

A snapshot is a short cut, never a truth: whatever is odd about it (another engine, another
catalogue, damage), it is not used, and the whole log rebuilds the state instead.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import ENGINE_VERSION
from risk.features.catalogue import FEATURE_HASH

Arrays = dict[str, npt.NDArray[np.int64]]
ARRAYS: Final = ("arena", "table", "meta")


def save(path: Path, seq: int, arrays: Arrays) -> None:
    """Write a snapshot that stands after event `seq`; atomic and durable.

    Raises:
        OSError: the disk refuses.
    """
    head = {"engine": ENGINE_VERSION, "features": FEATURE_HASH, "seq": seq}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    header = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)
    with draft.open("wb") as file:
        np.savez(file, allow_pickle=False, header=header, **arrays)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> tuple[int, Arrays] | None:
    """Return (seq, arrays), or None if there is no snapshot this engine can use."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            head = json.loads(stored["header"].tobytes())
            if head["engine"] != ENGINE_VERSION or head["features"] != FEATURE_HASH:
                return None
            return int(head["seq"]), {name: stored[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
