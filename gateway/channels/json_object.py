"""A payment system's JSON, read field by field: whatever isn't as agreed is refused by name."""

import json
from collections.abc import Mapping
from typing import TypeVar

from gateway.channels.base import ChannelProtocolError

T = TypeVar("T")


class JsonObject:
    """An object of an answer or a notification, with the message it came in."""

    def __init__(self, parsed: object, raw: bytes = b"") -> None:
        """Take a parsed value.

        Raises:
            ChannelProtocolError: if it is no object.
        """
        if not isinstance(parsed, dict):
            raise ChannelProtocolError("not a JSON object")
        self._parsed: dict[str, object] = parsed
        self.raw = raw

    @classmethod
    def read(cls, raw: bytes) -> "JsonObject":
        """Parse a whole message."""
        try:
            return cls(json.loads(raw), raw)
        except (ValueError, RecursionError) as error:
            raise ChannelProtocolError(f"not JSON: {error}") from error

    def text(self, name: str) -> str:
        """Return a field's text; '' if it is null or isn't there."""
        value = self._parsed.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ChannelProtocolError(f"{name} must be text, was {value!r:.40}")
        return value

    def number(self, name: str) -> int:
        """Return a field's integer."""
        value = self._parsed.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ChannelProtocolError(f"{name} must be an integer, was {value!r:.40}")
        return value

    def says(self, name: str) -> bool:
        """Return whether a field is true."""
        return self._parsed.get(name) is True

    def holds(self, name: str) -> bool:
        """Return whether a field is there and not null."""
        return self._parsed.get(name) is not None

    def part(self, name: str) -> "JsonObject":
        """Return the object in a field; an empty one if it is null or isn't there."""
        value = self._parsed.get(name)
        return JsonObject({} if value is None else value, self.raw)

    def parts(self, name: str) -> list["JsonObject"]:
        """Return the objects in a field; none if it is null or isn't there."""
        value = self._parsed.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise ChannelProtocolError(f"{name} must be a list")
        return [JsonObject(each, self.raw) for each in value]

    def whole(self, name: str) -> "JsonObject":
        """Return the object in a field; an empty one if only its id stands there."""
        is_id = isinstance(self._parsed.get(name), str)
        return JsonObject({}, self.raw) if is_id else self.part(name)

    def id_of(self, name: str) -> str:
        """Return the id of another object, which may stand here whole."""
        return self.whole(name).text("id") or self.text(name)

    def word(self, name: str, meanings: Mapping[str, T]) -> T:
        """Return what a field's word means; an unknown word is refused."""
        said = self.text(name)
        if said not in meanings:
            raise ChannelProtocolError(f"unknown {name} {said[:40]!r}")
        return meanings[said]

    def same(self, name: str, expected: str) -> None:
        """Refuse the message unless a field holds what is expected."""
        if self.text(name) != expected:
            raise ChannelProtocolError(f"speaks of another {name} than {expected}")
