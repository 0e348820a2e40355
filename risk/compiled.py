"""How the kernel is compiled, and the version of the engine that follows from its source.

One decorator for all compiled code, so that no function is ever built with another set of flags:
no fast-math and no parallel reductions, because either may change the last bit of a result.

Numba's own cache looks only at the file a function stands in and would happily serve a kernel
compiled before a change in a file it calls. The cache folder is therefore named by a digest of
all files that take part; the same digest is the engine's version, which snapshots and decisions
carry.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

_ROOT: Final = Path(__file__).parent
_SOURCES: Final = (
    "compiled.py",
    "prefetch.py",
    "features/event.py",
    "features/layout.py",
    "features/fields.py",
    "features/vocabulary.py",
    "features/needs.py",
    "features/memory.py",
    "features/windows.py",
    "features/aggregates.py",
    "features/recent.py",
    "features/sets.py",
    "features/habits.py",
    "features/favourites.py",
    "features/travel.py",
    "features/observe.py",
    "features/finish.py",
    "features/kernel.py",
    "features/groups.py",
    "features/entities.py",
    "graph.py",
    "rings.py",
    "flows.py",
    "peers.py",
    "splits.py",
    "shapley.py",
)


def _digest() -> str:
    digest = hashlib.blake2b(digest_size=6)
    for name in _SOURCES:
        path = _ROOT / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


ENGINE_VERSION: Final = f"1.{_digest()}"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _cache_folder() -> Path | None:
    """The first folder that can be written: the one configured, ours, the user's."""
    configured = numba.config.CACHE_DIR
    bases = [Path(configured)] if configured else []
    bases += [_ROOT / "__pycache__", Path.home() / ".cache" / "yumen"]
    for base in bases:
        folder = base / f"numba-{ENGINE_VERSION}-{sys.implementation.cache_tag}"
        if _writable(folder):
            return folder
    return None


_CACHE: Final = _cache_folder()


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with the flags of the house; the plain one stays at ``.py_func``.

    It makes no array, so none is counted: to count the references of every array in every call
    took a third of the time. A function that must make some is an `allocating` one.
    """
    return _compiled(function, counting=False)


def allocating(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that makes arrays of its own; otherwise as `kernel`."""
    return _compiled(function, counting=True)


def _compiled(function: Callable[P, R], *, counting: bool) -> Callable[P, R]:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_CACHE) if _CACHE else before
    try:
        compiled = numba.njit(
            cache=_CACHE is not None, nogil=True, error_model="numpy", _nrt=counting
        )(function)
    finally:
        numba.config.CACHE_DIR = before
    return cast("Callable[P, R]", compiled)
