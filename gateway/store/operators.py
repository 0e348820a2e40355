"""Operators with tokens of their own, and acts that wait for a second person."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine, insert, select, update

from gateway.domain.errors import InvalidParameter, ObjectNotFound, StaleVersion
from gateway.domain.operator import Role
from gateway.store import audit
from gateway.store.applications import token_digest
from gateway.store.keys import random_name
from gateway.store.tables import approvals, operators
from gateway.store.vault import Vault

APPROVAL_TTL_S = 86_400
REFRESH_AFTER_US = 1_000_000  # How long a revocation by another process may take to be seen.
TOKEN_PREFIX = "op_"  # noqa: S105 - what every token begins with


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Somebody who may use the admin API."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """An operator as others see them; `revoked_at_us` is 0 while the token works."""

    name: str
    role: str
    created_by: str
    created_at_us: int
    revoked_at_us: int

    def as_json(self) -> dict[str, object]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An act that waits for a second person, or did.

    Attributes:
        approval_id: Its name.
        act: What will be done.
        object_id: To what.
        shown: What exactly, fit to be seen.
        reason: Why, in the words of who asked.
        requested_by: Who asked.
        requested_at_us: When.
        expires_at_us: Nobody can agree after this.
        status: WAITING, DONE or REFUSED.
        decided_by: Who decided; empty while it waits.
        decided_at_us: When; 0 while it waits.
    """

    approval_id: str
    act: str
    object_id: str
    shown: Mapping[str, object]
    reason: str
    requested_by: str
    requested_at_us: int
    expires_at_us: int
    status: str
    decided_by: str
    decided_at_us: int


def create_operator(
    conn: Connection, name: str, role: Role, *, actor: str, reason: str, now_us: int
) -> str:
    """Enter an operator and return the token, which is not shown again; the act is audited.

    Raises:
        InvalidParameter: (1001) if the name is taken, by somebody who left too: the audit trail
            must never speak of two people by one name.
    """
    taken = conn.execute(select(operators.c.name).where(operators.c.name == name)).first()
    if taken is not None:
        raise InvalidParameter("name", "is taken")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    conn.execute(
        insert(operators).values(
            name=name,
            role=role.value,
            token_sha256=token_digest(token),
            created_by=actor,
            created_at_us=now_us,
        )
    )
    audit.record(
        conn,
        actor=actor,
        action="operator.create",
        object_id=name,
        now_us=now_us,
        reason=reason,
        detail={"role": role.value},
    )
    return token


def revoke_operator(conn: Connection, name: str, *, actor: str, reason: str, now_us: int) -> None:
    """Take an operator's token away; the act is audited.

    Raises:
        ObjectNotFound: (1009) if nobody of that name has one.
    """
    done = conn.execute(
        update(operators)
        .where(operators.c.name == name, operators.c.revoked_at_us == 0)
        .values(revoked_at_us=now_us)
    )
    if done.rowcount != 1:
        raise ObjectNotFound(f"no operator {name[:64]}")
    audit.record(
        conn, actor=actor, action="operator.revoke", object_id=name, now_us=now_us, reason=reason
    )


def list_operators(conn: Connection) -> list[OperatorRow]:
    """Return everybody who has or had a token, by name; no token."""
    table = operators.c
    rows = conn.execute(
        select(
            table.name, table.role, table.created_by, table.created_at_us, table.revoked_at_us
        ).order_by(table.name)
    )
    return [OperatorRow(*row) for row in rows]


class OperatorBook:
    """Finds an operator by token; an answer is at most a second old.

    Args:
        reader: Engine for reads, used on the caller's thread.
        clock_us: The time, microseconds since the epoch.
    """

    def __init__(self, reader: Engine, clock_us: Callable[[], int]) -> None:
        self._reader = reader
        self._clock_us = clock_us
        self._found: dict[bytes, Operator] = {}
        self._read_at_us = 0

    def find(self, token: str) -> Operator | None:
        """Return whose token this is, or None. The lookup is by digest, so it leaks no token."""
        now_us = self._clock_us()
        if not 0 <= now_us - self._read_at_us < REFRESH_AFTER_US:
            self._found = self._read()
            self._read_at_us = now_us
        return self._found.get(token_digest(token))

    def forget(self) -> None:
        """Look anew next time: call it after changing an operator in this process."""
        self._read_at_us = 0

    def _read(self) -> dict[bytes, Operator]:
        table = operators.c
        with self._reader.connect() as conn:
            rows = conn.execute(
                select(table.name, table.role, table.token_sha256).where(table.revoked_at_us == 0)
            ).all()
        return {
            bytes(row.token_sha256): Operator(name=row.name, role=Role(row.role)) for row in rows
        }


def ask_approval(
    conn: Connection,
    vault: Vault,
    *,
    act: str,
    object_id: str,
    request: Mapping[str, object],
    shown: Mapping[str, object],
    reason: str,
    requested_by: str,
    now_us: int,
) -> Approval:
    """Write down an act that somebody else must agree to."""
    approval_id = "P" + random_name(16)
    approval = Approval(
        approval_id=approval_id,
        act=act,
        object_id=object_id,
        shown=shown,
        reason=reason,
        requested_by=requested_by,
        requested_at_us=now_us,
        expires_at_us=now_us + APPROVAL_TTL_S * 1_000_000,
        status="WAITING",
        decided_by="",
        decided_at_us=0,
    )
    conn.execute(
        insert(approvals).values(
            approval_id=approval_id,
            act=act,
            object_id=object_id,
            request_sealed=vault.seal(
                json.dumps(dict(request)).encode(), bound_to=f"approval/{approval_id}"
            ),
            shown=json.dumps(dict(shown), ensure_ascii=False),
            reason=reason,
            requested_by=requested_by,
            requested_at_us=now_us,
            expires_at_us=approval.expires_at_us,
            status=approval.status,
        )
    )
    return approval


def find_approval(conn: Connection, approval_id: str) -> Approval:
    """Return an act that waits, or waited.

    Raises:
        ObjectNotFound: (1009) if there is none of that name.
    """
    row = conn.execute(_APPROVALS.where(approvals.c.approval_id == approval_id)).first()
    if row is None:
        raise ObjectNotFound(f"no approval {approval_id[:32]}")
    return Approval(**row._asdict() | {"shown": json.loads(row.shown)})


def list_approvals(conn: Connection, *, status: str = "WAITING") -> list[Approval]:
    """Return acts by where they stand, the oldest first."""
    rows = conn.execute(
        _APPROVALS.where(approvals.c.status == status)
        .order_by(approvals.c.requested_at_us)
        .limit(500)
    )
    return [Approval(**row._asdict() | {"shown": json.loads(row.shown)}) for row in rows]


def close_approval(
    conn: Connection, vault: Vault, approval: Approval, status: str, actor: str, now_us: int
) -> dict[str, object]:
    """Let an act that waits be DONE or REFUSED, once; return what is to be done.

    Raises:
        StaleVersion: (1010) if it was decided meanwhile.
    """
    table = approvals.c
    closed = conn.execute(
        update(approvals)
        .where(table.approval_id == approval.approval_id, table.status == "WAITING")
        .values(status=status, decided_by=actor, decided_at_us=now_us)
    )
    if closed.rowcount != 1:
        now = find_approval(conn, approval.approval_id)
        raise StaleVersion(approval.approval_id, now.status, 1, now.decided_by)
    sealed = conn.execute(
        select(table.request_sealed).where(table.approval_id == approval.approval_id)
    ).scalar_one()
    opened: dict[str, object] = json.loads(
        vault.open(sealed, bound_to=f"approval/{approval.approval_id}")
    )
    return opened


_APPROVALS = select(*(column for column in approvals.c if column.name != "request_sealed"))
