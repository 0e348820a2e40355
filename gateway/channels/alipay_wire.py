"""How Alipay's messages are signed, verified and read; the calls themselves are in `alipay`.

Whatever comes back is believed only under Alipay's own SHA256withRSA signature: the hash is ours to
choose, never the signature's, and what is unsigned says nothing.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Final
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from gateway.channels.base import ChannelProtocolError

BEIJING: Final = timezone(timedelta(hours=8))
_BODY_BYTES_MAX: Final = 65_536
_YUAN: Final = re.compile(r"(0|[1-9][0-9]{0,12})\.([0-9]{2})", re.ASCII)


class Fields:
    """A signed answer or notification, read field by field; whatever isn't text is refused."""

    def __init__(self, fields: Mapping[str, object], raw: bytes) -> None:
        """Keep the fields and the message they came in."""
        self._fields = fields
        self.raw = raw

    def text(self, name: str) -> str:
        """Return a field's text; '' if it isn't there."""
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise ChannelProtocolError(f"alipay: {name} must be text, was {value!r:.40}")
        return value

    def minor(self, name: str) -> int:
        """Return an amount, written in yuan with two decimals, in fen."""
        found = _YUAN.fullmatch(self.text(name))
        if found is None:
            raise ChannelProtocolError(f"alipay: {name} is no amount: {self.text(name)[:40]!r}")
        return int(found.group(1) + found.group(2))

    def same(self, name: str, expected: str) -> None:
        """Refuse the message unless a field holds what is expected."""
        if self.text(name) != expected:
            raise ChannelProtocolError(f"alipay: speaks of another {name} than {expected}")


class Wire:
    """Signs as one application and verifies as Alipay's counterpart."""

    def __init__(
        self, app_id: str, private_key: str, alipay_public_key: str, clock_us: Callable[[], int]
    ) -> None:
        """Read the keys, each PEM or bare base64 as Alipay's tools hand them out.

        Raises:
            ValueError: naming the setting that is no RSA key.
        """
        self._app_id = app_id
        self._clock_us = clock_us
        private = load_der_private_key(_der("private_key", private_key), password=None)
        public = load_der_public_key(_der("alipay_public_key", alipay_public_key))
        if not isinstance(private, RSAPrivateKey) or not isinstance(public, RSAPublicKey):
            raise ValueError("private_key and alipay_public_key must be RSA keys")  # noqa: TRY004 - a setting
        self._private_key, self._alipay_key = private, public

    def signed(
        self, method: str, content: Mapping[str, str], notify_url: str = "", return_url: str = ""
    ) -> dict[str, str]:
        """Return all parameters of a call with their signature, in the order they are signed."""
        at = datetime.fromtimestamp(self._clock_us() // 1_000_000, tz=BEIJING)
        parameters = {
            "app_id": self._app_id,
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
            "charset": "utf-8",
            "format": "JSON",
            "method": method,
            "notify_url": notify_url,
            "return_url": return_url,
            "sign_type": "RSA2",
            "timestamp": f"{at:%Y-%m-%d %H:%M:%S}",
            "version": "1.0",
        }
        given = {name: value for name, value in parameters.items() if value}
        message = "&".join(f"{name}={value}" for name, value in given.items())
        signature = self._private_key.sign(message.encode(), PKCS1v15(), SHA256())
        return given | {"sign": base64.b64encode(signature).decode()}

    def read_answer(self, method: str, raw: bytes) -> Fields:
        """Verify the inner object's own bytes, as they stand in the answer, and read those.

        Raises:
            ChannelProtocolError: if it isn't Alipay's signed answer to `method`.
        """
        try:
            text = raw.decode()
            envelope: object = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise ChannelProtocolError(f"alipay: not JSON: {error!r:.80}") from error
        head = f'{{"{method.replace(".", "_")}_response":'
        if not isinstance(envelope, dict) or not text.startswith(f"{head}{{"):
            raise ChannelProtocolError(f"alipay: no answer to {method}: {_error_of(envelope)}")
        inner, end = json.JSONDecoder().raw_decode(text, len(head))
        sign = envelope.get("sign")
        if not isinstance(sign, str):
            raise ChannelProtocolError(f"alipay: unsigned answer: {_error_of(envelope)}")
        self._check(text[len(head) : end].encode(), sign)
        return Fields(inner, raw)

    def read_notice(self, body: bytes) -> Fields:
        """Verify a notification's form; fields that came empty are not part of what is signed.

        Raises:
            ChannelProtocolError: if it isn't Alipay's.
        """
        if len(body) > _BODY_BYTES_MAX:
            raise ChannelProtocolError("alipay: notification is too large")
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
            )
        except ValueError as error:
            raise ChannelProtocolError("alipay: not a form") from error
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ChannelProtocolError("alipay: a field stands twice")
        if fields.get("sign_type") != "RSA2":
            raise ChannelProtocolError("alipay: signed with something else than RSA2")
        signed = {name: fields[name] for name in fields if name not in ("sign", "sign_type")}
        message = "&".join(f"{name}={signed[name]}" for name in sorted(signed) if signed[name])
        self._check(message.encode(), fields.get("sign", ""))
        return Fields(signed, body)

    def _check(self, message: bytes, sign: str) -> None:
        try:
            signature = base64.b64decode(sign, validate=True)
            self._alipay_key.verify(signature, message, PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature) as error:
            raise ChannelProtocolError("alipay: wrong signature") from error


def _der(name: str, text: str) -> bytes:
    bare = re.sub(r"-----(BEGIN|END) [A-Z ]+-----|\s", "", text)
    try:
        return base64.b64decode(bare, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{name} must be PEM or base64") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _error_of(envelope: object) -> str:
    """Say what an unsigned error says, for the operator alone."""
    if isinstance(envelope, dict):
        for inner in envelope.values():
            if isinstance(inner, dict):
                return f"{inner.get('code')!r:.12} {inner.get('sub_code')!r:.60}"
    return "nothing readable"
