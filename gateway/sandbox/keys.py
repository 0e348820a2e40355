"""Keys of both sides of every protocol, made on first use and kept in the sandbox's folder.

A real payment system gives a merchant's account its keys on paper; this one writes them to files
that only the owner may read, so that gateway, sandbox and tests agree without a conversation.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

RSA_BITS: Final = 2048


class Keys:
    """Named keys in a folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it and the keys are made when first asked for."""
        self._folder = folder

    def kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return what is kept under a name; `make` makes it once, also of two who ask at once."""
        path = self._folder / name
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_name(f".{name}.{os.getpid()}.{secrets.token_hex(4)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(make())
                f.flush()
                os.fsync(f.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_bytes()

    def secret_hex(self, name: str, *, length_bytes: int = 32) -> str:
        """Return a shared secret, lower-case hex."""
        return self.kept(name, lambda: secrets.token_hex(length_bytes).encode()).decode()

    def rsa(self, name: str) -> rsa.RSAPrivateKey:
        """Return an RSA key."""
        pem = self.kept(f"{name}.pem", _new_rsa_pem)
        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{name} is not an RSA key")
        return key

    def rsa_private_pem(self, name: str) -> str:
        """Return an RSA private key as PEM (PKCS#8)."""
        return self.kept(f"{name}.pem", _new_rsa_pem).decode()

    def rsa_public_pem(self, name: str) -> str:
        """Return the public half as PEM (SubjectPublicKeyInfo)."""
        public = self.rsa(name).public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _new_rsa_pem() -> bytes:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
