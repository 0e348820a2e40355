"""Four eyes: what one person asks for, another agrees to, and only then it is done.

Asking writes down exactly what will be done, sealed; agreeing does it in the same transaction that
closes the request, so it is done once. Nobody agrees with himself, here and in the table's own
constraint, and a request is void after a day.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from gateway.domain.errors import Forbidden, StaleVersion
from gateway.payments.context import Context
from gateway.store import audit, operators
from gateway.store.operators import Approval
from gateway.store.vault import Vault

# What is done: given the transaction, what was asked for, who agreed and the time.
Execute = Callable[[Connection, dict[str, Any], str, int], Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """The acts that need a second person.

    Attributes:
        context: Store and clock.
        vault: Seals what was asked for.
        acts: What each act does.
        required: Whether operators need each other; a merchant always needs one.
    """

    context: Context
    vault: Vault
    acts: Mapping[str, Execute]
    required: bool

    async def perform(
        self,
        act: str,
        object_id: str,
        request: dict[str, Any],
        *,
        shown: Mapping[str, object],
        actor: str,
        reason: str,
    ) -> Mapping[str, object]:
        """Do what an operator wants, or ask somebody else first; arguments as `ask`.

        Returns:
            What the act returned; or ``approval_id`` and ``status`` of a request that waits.

        Raises:
            GatewayError: whatever the act itself raises.
        """
        if self.required:
            asked = await self.ask(act, object_id, request, shown=shown, actor=actor, reason=reason)
            return {"approval_id": asked.approval_id, "status": asked.status}
        now_us = self.context.clock_us()
        return await self.context.writer.run(
            lambda conn: self.acts[act](conn, request, actor, now_us)
        )

    async def ask(
        self,
        act: str,
        object_id: str,
        request: Mapping[str, object],
        *,
        shown: Mapping[str, object],
        actor: str,
        reason: str,
    ) -> Approval:
        """Ask for an act; nothing is done yet.

        Args:
            act: One of `acts`.
            object_id: To what it is done.
            request: What exactly, JSON values; kept sealed.
            shown: The same, fit to be seen.
            actor: Who asks.
            reason: Why.
        """
        now_us = self.context.clock_us()

        def write(conn: Connection) -> Approval:
            approval = operators.ask_approval(
                conn,
                self.vault,
                act=act,
                object_id=object_id,
                request=request,
                shown=shown,
                reason=reason,
                requested_by=actor,
                now_us=now_us,
            )
            self._note(conn, f"{act}.ask", approval, actor, reason, now_us)
            return approval

        return await self.context.writer.run(write)

    async def decide(
        self, approval_id: str, *, agreed: bool, actor: str, reason: str
    ) -> Mapping[str, object]:
        """Agree to an act, which does it, or refuse it.

        Returns:
            What the act returned; empty if it was refused.

        Raises:
            ObjectNotFound: (1009) if there is no such request.
            Forbidden: (1008) if it is the actor's own.
            StaleVersion: (1010) if it was decided meanwhile, or is too old.
            GatewayError: whatever the act itself raises; then nothing was decided.
        """
        now_us = self.context.clock_us()

        def run(conn: Connection) -> Mapping[str, object]:
            approval = operators.find_approval(conn, approval_id)
            if actor == approval.requested_by and agreed:
                raise Forbidden("somebody else must agree to what you asked for")
            if approval.status == "WAITING" and now_us >= approval.expires_at_us:
                raise StaleVersion(approval_id, "EXPIRED", 1)
            # The table's constraint keeps its word even for one who takes his own request back.
            decided_by = actor if actor != approval.requested_by else f"{actor} (withdrawn)"
            status = "DONE" if agreed else "REFUSED"
            request = operators.close_approval(
                conn, self.vault, approval, status, decided_by, now_us
            )
            word = "agree" if agreed else "refuse"
            self._note(conn, f"{approval.act}.{word}", approval, actor, reason, now_us)
            return self.acts[approval.act](conn, request, actor, now_us) if agreed else {}

        return await self.context.writer.run(run)

    def waiting(self) -> list[Approval]:
        """Return the requests that wait and are not too old, the oldest first."""
        now_us = self.context.clock_us()
        with self.context.reader.connect() as conn:
            found = operators.list_approvals(conn)
        return [approval for approval in found if approval.expires_at_us > now_us]

    def find(self, approval_id: str) -> Approval:
        """Return one request.

        Raises:
            ObjectNotFound: (1009) if there is none of that name.
        """
        with self.context.reader.connect() as conn:
            return operators.find_approval(conn, approval_id)

    def _note(
        self,
        conn: Connection,
        action: str,
        approval: Approval,
        actor: str,
        reason: str,
        now_us: int,
    ) -> None:
        audit.record(
            conn,
            actor=actor,
            action=action,
            object_id=approval.object_id,
            now_us=now_us,
            reason=reason,
            detail={"approval_id": approval.approval_id, **approval.shown},
        )
