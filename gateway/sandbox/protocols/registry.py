"""Every protocol the sandbox speaks: the one table a new one is added to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import ecny, house
from gateway.sandbox.protocols.base import WireProtocol

PROTOCOLS: Final[tuple[type[WireProtocol], ...]] = (house.House, ecny.Ecny)


def keys_in(var: Path) -> Keys:
    """Return the keys of a sandbox whose state is in the folder `var`."""
    return Keys(var / "sandbox.keys")


def accounts(var: Path, base_url: str) -> dict[str, Mapping[str, str]]:
    """Return, for each kind of channel, what an adapter must be told to use the sandbox.

    Args:
        var: Folder of the sandbox's state.
        base_url: Where the sandbox lives, e.g. ``http://127.0.0.1:8000/sandbox``.
    """
    keys = keys_in(var)
    return {kind.name: kind.account(keys, base_url) for kind in PROTOCOLS}
