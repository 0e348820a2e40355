"""Who owns a folder of state: one process at a time, and the secrets it keeps there."""

import fcntl
import os
import secrets
from pathlib import Path
from typing import IO


class AlreadyOwned(Exception):
    """Another process owns the feature state of this folder; a second one would fork it."""


def own(var: Path) -> IO[bytes]:
    """Take the lock of a folder; the process that holds it owns the feature state.

    Raises:
        AlreadyOwned: another gateway runs on the same folder.
    """
    lock = (var / "owner.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyOwned(
            f"another gateway runs on {var}; stop it or choose another folder with --var"
        ) from None
    return lock


def kept_secret(path: Path) -> bytes:
    """Return the secret in a file, making both on first use; readable by the owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # Of two processes that start together, one makes the secret.
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
