"""What the merchant told of a payment, kept for analysts and sealed under its person's key.

The context of a request (addresses, device, hashes of names) is personal data. It is kept as
AES-256-GCM under the payer's key, the payee's account id under the payee's, each bound to its
decision. Destroying a person's key makes their part unreadable and changes no stored byte of it,
so the chain over the decision still verifies.

A payment without a payer's account id belongs to nobody who could name themselves to us: it gets
a key of its own, kept sealed in its row, destroyed by the payment's number.
"""

import secrets
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, text

from gateway.store.raw import Raw
from gateway.store.subjects import KEY_BYTES, Hidden, Subject, cipher_of, open_key
from gateway.store.vault import Vault, VaultDamaged
from risk.transaction import EMPTY_CONTEXT, RiskContext

_NONCE_BYTES: Final = 12
_ENCODER: Final = msgspec.json.Encoder()
_GROUPS: Final = tuple(
    (group.name, empty, names, attrgetter(*names))
    for group in fields(RiskContext)
    for empty in (getattr(EMPTY_CONTEXT, group.name),)
    for names in (tuple(field_.name for field_ in fields(empty)),)
)
_ADD: Final = (
    "INSERT INTO evidence (merchant_id, decision_id, subject_id, payee_subject_id, key_sealed,"
    " sealed, payee_sealed) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_GET: Final = text(
    "SELECT e.subject_id, e.payee_subject_id, e.key_sealed AS own_key, e.sealed, e.payee_sealed,"
    " payer.lookup AS payer_lookup, payer.key_sealed AS payer_key,"
    " payer.erased_at_us AS payer_erased_at_us, payee.lookup AS payee_lookup,"
    " payee.key_sealed AS payee_key"
    " FROM evidence e LEFT JOIN subjects payer ON payer.subject_id = e.subject_id"
    " LEFT JOIN subjects payee ON payee.subject_id = e.payee_subject_id"
    " WHERE e.merchant_id = :merchant_id AND e.decision_id = :decision_id"
)


@dataclass(frozen=True, slots=True)
class Erased:
    """The evidence was there; its key was destroyed.

    Attributes:
        at_us: When, microseconds since the epoch; 0 if the row does not say.
    """

    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Sealed evidence of one decision, ready to be written.

    Attributes:
        sealed: The context without the payee's account id.
        payee_sealed: The payee's account id; empty if none was sent.
        key_sealed: The evidence's own key if the payer has no account; else empty.
        payer: Whose key sealed it, if not its own.
        payee: Whose key sealed the payee's account id.
    """

    sealed: bytes
    payee_sealed: bytes
    key_sealed: bytes = field(repr=False)
    payer: Subject | None
    payee: Subject | None

    def store(self, raw: Raw, merchant_id: str, decision_id: str) -> dict[str, Any]:
        """Write it, and its people where they are new, in the caller's transaction.

        Returns:
            What the chain covers of it (`gateway.store.chain.EVIDENCE_COLUMNS`).

        Raises:
            Busy: (1006) if a key was replaced or erased meanwhile.
        """
        subject_id = 0 if self.payer is None else self.payer.store(raw)
        payee_subject_id = 0 if self.payee is None else self.payee.store(raw)
        raw.execute(
            _ADD,
            (
                merchant_id,
                decision_id,
                subject_id,
                payee_subject_id,
                self.key_sealed,
                self.sealed,
                self.payee_sealed,
            ),
        )
        return {
            "payee_sealed": self.payee_sealed,
            "payee_subject_id": payee_subject_id,
            "sealed": self.sealed,
            "subject_id": subject_id,
        }


def seal(
    vault: Vault, context: RiskContext, people: Hidden, merchant_id: str, decision_id: str
) -> Evidence | None:
    """Seal a request's context; None if the merchant told nothing.

    Args:
        vault: Seals the evidence's own key where the payer has none.
        context: What the merchant sent, account ids in clear.
        people: Whom `Subjects.hide` found in it.
        merchant_id: Whose decision.
        decision_id: The decision it is bound to.
    """
    told = _told(context)
    if not told:
        return None
    bound_to = _row_name(merchant_id, decision_id)
    key_sealed, payee_sealed = b"", b""
    payee_name = context.payee.account_id
    if people.payee is not None and payee_name:
        del told["payee"]["account_id"]
        payee_sealed = _sealed(people.payee.cipher, payee_name.encode(), bound_to)
    if people.payer is not None:
        cipher = people.payer.cipher
    else:
        key = secrets.token_bytes(KEY_BYTES)
        cipher = cipher_of(key)
        key_sealed = vault.seal(key, bound_to=bound_to)
    return Evidence(
        sealed=_sealed(cipher, _ENCODER.encode(told), bound_to),
        payee_sealed=payee_sealed,
        key_sealed=key_sealed,
        payer=people.payer,
        payee=people.payee,
    )


def open_evidence(
    conn: Connection, vault: Vault, merchant_id: str, decision_id: str
) -> dict[str, Any] | Erased | None:
    """Open what a merchant told of a payment.

    Args:
        conn: A connection for reading.
        vault: Opens the keys.
        merchant_id: Whose decision.
        decision_id: Which.

    Returns:
        Groups and fields as in `risk_context`; ``payee.erased`` is True if only the payee's part
        is gone. `Erased` if the key was destroyed. None if the merchant told nothing.

    Raises:
        VaultDamaged: if a key or the evidence can't be opened though it was not erased.
    """
    row = (
        conn.execute(_GET, {"merchant_id": merchant_id, "decision_id": decision_id})
        .mappings()
        .first()
    )
    if row is None:
        return None
    bound_to = _row_name(merchant_id, decision_id)
    if row["subject_id"]:
        if row["payer_lookup"] is None:
            return Erased(row["payer_erased_at_us"] or 0)
        key = open_key(vault, row["payer_lookup"], row["payer_key"])
    elif not any(row["own_key"]):
        return Erased(0)
    else:
        key = vault.open(row["own_key"], bound_to=bound_to)
    told: dict[str, Any] = msgspec.json.decode(_opened(cipher_of(key), row["sealed"], bound_to))
    if row["payee_subject_id"]:
        payee = told.setdefault("payee", {})
        if row["payee_lookup"] is None:
            payee["erased"] = True
        else:
            cipher = cipher_of(open_key(vault, row["payee_lookup"], row["payee_key"]))
            payee["account_id"] = _opened(cipher, row["payee_sealed"], bound_to).decode()
    return told


def _told(context: RiskContext) -> dict[str, dict[str, Any]]:
    """The groups and fields that were sent."""
    told: dict[str, dict[str, Any]] = {}
    for name, empty, names, values_of in _GROUPS:
        group = getattr(context, name)
        if group is empty:
            continue
        pairs = zip(names, values_of(group), strict=True)
        sent = {field_name: value for field_name, value in pairs if value is not None}
        if sent:
            told[name] = sent
    return told


def _sealed(cipher: AESGCM, plain: bytes, bound_to: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, bound_to.encode())


def _opened(cipher: AESGCM, sealed: bytes, bound_to: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError):
        raise VaultDamaged(
            f"the evidence of {bound_to} can't be opened: it was changed (run yumen audit verify)"
        ) from None


def _row_name(merchant_id: str, decision_id: str) -> str:
    return f"{merchant_id}/{decision_id}"
