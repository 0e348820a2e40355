"""Secrets at rest: sealed with the installation's own key, which never enters the database.

A copy of the database alone opens nothing. Each seal is bound to the row it belongs to, so a
sealed secret moved to another merchant's row does not open there.
"""

import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class VaultDamaged(Exception):
    """The installation key is unusable, or a seal was made with another one or changed."""


class Vault:
    """Seals and opens small secrets with AES-256-GCM under ``var/master.key``.

    The key file is made at first use, readable by its owner alone. Two processes that start at
    once end with the same key: the file appears whole or not at all.

    Args:
        var: The folder of all embedded state.
    """

    def __init__(self, var: Path) -> None:
        key = _installation_key(var / "master.key")
        self._cipher = AESGCM(key)
        self._root = key

    def mac_key(self, purpose: str) -> bytes:
        """Return the installation's key for keyed hashes of one purpose, 32 bytes.

        Args:
            purpose: A fixed word of the code that uses it; another word gives another key.
        """
        return hashlib.blake2b(
            purpose.encode(), key=self._root, digest_size=32, person=b"yumen.mac_key"
        ).digest()

    def seal(self, plain: bytes, *, bound_to: str = "") -> bytes:
        """Encrypt `plain`.

        Args:
            plain: The secret.
            bound_to: The row it belongs to; needed again to open it.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, bound_to.encode())

    def open(self, sealed: bytes, *, bound_to: str = "") -> bytes:
        """Decrypt what `seal` made.

        Raises:
            VaultDamaged: if it was changed, belongs to another row or to another installation.
        """
        if sealed[:1] != _VERSION:
            raise VaultDamaged("a stored secret has an unknown format")
        nonce, cipher_text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, cipher_text, bound_to.encode())
        except (InvalidTag, ValueError):
            raise VaultDamaged(
                "a stored secret can't be opened: var/master.key is not the one it was sealed with"
            ) from None


def _installation_key(path: Path) -> bytes:
    if not path.exists():
        _make_key(path)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise VaultDamaged(f"{path.name} must hold {_KEY_BYTES} bytes, holds {len(key)}")
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # Fails if another process was first; then its key is ours too.
        except FileExistsError:
            return
    finally:
        draft.unlink()
