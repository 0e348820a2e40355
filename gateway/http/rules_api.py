"""Rules and lists through the admin API: read, check, draft, move, put on, take off.

The same doorkeeper as the other operators' routes: the token, a name in `X-Actor`, a reason with
every change. A change that is answered with success runs from the next payment on.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from sqlalchemy import Connection

from gateway.domain.errors import InvalidParameter
from gateway.domain.operator import Act
from gateway.http.doorkeeper import (
    REASON_LENGTH_MAX,
    Door,
    OperatorBody,
    acting,
    needs,
    operators_router,
)
from gateway.payments.context import Context
from gateway.store import listing, lists, rules
from gateway.store.lists import NewEntry
from gateway.store.subjects import numbers_in
from gateway.store.vault import Vault
from risk.rules.emit import needs_features
from risk.rules.language import LENGTH_MAX
from risk.rules.lists import Purpose
from risk.rules.names import NumberOf
from risk.rules.problems import RuleError
from risk.rules.source import Action, Rule, RuleSet, RuleState, check_rule
from risk.rules.tree import lists_of

PAGE_COUNT_MAX = 500
_ACTING = Depends(acting)
_Reason = Annotated[
    str, Field(min_length=1, max_length=REASON_LENGTH_MAX, description="Why. / 原因")
]
_Name = Annotated[str, Field(min_length=1, max_length=64, description="Its name. / 名称")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesDeps:
    """What the routes work with.

    Attributes:
        context: The gateway's store, engine and clock.
        door: Who is let in.
        numbers: Which number stands for a word (a person's is keyed by the gateway).
        vault: Seals the key of a person who is named before the first payment.
        refresh: Runs what is stored from now on.
        running: What runs now.
    """

    context: Context
    door: Door
    numbers: NumberOf
    vault: Vault
    refresh: Callable[[], Awaitable[object]]
    running: Callable[[], RuleSet]


class RuleBody(OperatorBody):
    """What a rule says."""

    name: _Name
    expression: str = Field(
        min_length=1, max_length=LENGTH_MAX, description="See docs/RULES.md. / 规则表达式"
    )
    action: Action = Field(description="What it asks for. / 动作")
    reason_code: str = Field(max_length=64, description="Code shown with a decision. / 原因代码")
    overridable: bool = Field(default=True, description="An allow rule may lift it. / 可被放行覆盖")
    valid_from_us: int = Field(
        default=0, ge=0, strict=True, description="Counts from, microseconds. / 生效时间"
    )
    valid_to_us: int = Field(
        default=0, ge=0, strict=True, description="And before; 0 has no end. / 失效时间"
    )

    def as_rule(self) -> Rule:
        """Return it as a draft."""
        return Rule(
            name=self.name,
            expression=self.expression,
            action=self.action,
            reason=self.reason_code,
            overridable=self.overridable,
            state=RuleState.DRAFT,
            valid_from_us=self.valid_from_us,
            valid_to_us=self.valid_to_us,
        )


class DraftBody(RuleBody):
    """A new version of a rule."""

    reason: _Reason


class MoveBody(OperatorBody):
    """Where a version of a rule is to go."""

    state: RuleState = Field(description="SHADOW, LIVE or RETIRED. / 目标状态")
    reason: _Reason


class ListBody(OperatorBody):
    """A new list."""

    name: _Name
    purpose: Purpose = Field(description="ALLOW, BLOCK or NAMED. / 用途")
    reason: _Reason


class EntriesBody(OperatorBody):
    """Words to put on a list."""

    kind: str = Field(max_length=32, description="card, user, ip, country, … / 类型")
    values: list[str] = Field(min_length=1, max_length=lists.ENTRY_COUNT_MAX, description="值")
    expires_at_us: int = Field(
        default=0, ge=0, strict=True, description="No longer counts from; 0 is never. / 到期时间"
    )
    reason: _Reason


class RemovalBody(OperatorBody):
    """Entries to take off a list."""

    entry_ids: list[int] = Field(min_length=1, max_length=lists.ENTRY_COUNT_MAX)
    reason: _Reason


def rules_router(deps: RulesDeps) -> APIRouter:
    """Make the routes under ``/admin/rules`` and ``/admin/lists``."""
    router = operators_router(deps.door)
    _add_rules(router, deps)
    _add_rule_changes(router, deps)
    _add_lists(router, deps)
    _add_list_changes(router, deps)
    return router


def _running(deps: RulesDeps) -> dict[str, object]:
    rule_set = deps.running()
    return {"rule_version": rule_set.version, "list_version": rule_set.list_version}


def _add_rules(router: APIRouter, deps: RulesDeps) -> None:
    context = deps.context

    @router.get("/rules")
    @needs(Act.READ)
    async def list_rules(*, retired: bool = False) -> dict[str, object]:
        """All rules, where they stand, and which set runs (规则列表)."""
        with context.reader.connect() as conn:
            found = rules.all_rules(conn, retired=retired)
        return {"rules": [one.as_json() for one in found], **_running(deps)}

    @router.get("/rules/{name}")
    @needs(Act.READ)
    async def show_rule(name: str) -> dict[str, object]:
        """All versions of a rule (规则历史)."""
        with context.reader.connect() as conn:
            found = rules.versions_of(conn, name)
        return {"name": name, "versions": [one.as_json() for one in found]}

    @router.post("/rules/check")
    @needs(Act.READ)
    async def check(body: RuleBody, _actor: str = _ACTING) -> dict[str, object]:
        """Compile a rule without storing it; says where it is wrong (试编译规则)."""
        with context.reader.connect() as conn:
            known = listing.list_names(conn)
        try:
            _, tree = check_rule(body.as_rule(), known, numbers=deps.numbers)
        except RuleError as error:
            return {
                "valid": False,
                "problem": error.problem,
                "problem_zh": error.problem_zh,
                "line": error.line + 1,
                "column": error.column + 1,
            }
        return {
            "valid": True,
            "lists": list(lists_of(tree)),
            "runs_without_features": not needs_features(tree),
        }


def _add_rule_changes(router: APIRouter, deps: RulesDeps) -> None:
    context = deps.context

    @router.post("/rules")
    @needs(Act.CHANGE_RULES)
    async def draft(body: DraftBody, actor: str = _ACTING) -> dict[str, object]:
        """Store the next version of a rule as a draft (新增规则草稿)."""
        now_us = context.clock_us()
        stored = await context.writer.run(
            lambda conn: rules.add_rule(
                conn,
                body.as_rule(),
                actor=actor,
                note=body.reason,
                now_us=now_us,
                numbers=numbers_in(conn, deps.vault, now_us),
            )
        )
        return {"code": "SUCCESS", **stored.as_json()}

    @router.post("/rules/{name}/{version}/move")
    @needs(Act.CHANGE_RULES)
    async def move(
        name: str, version: int, body: MoveBody, actor: str = _ACTING
    ) -> dict[str, object]:
        """Move a version to shadow, live or retired (变更规则状态)."""
        now_us = context.clock_us()
        stored = await context.writer.run(
            lambda conn: rules.move_rule(
                conn, name, version, body.state, actor=actor, reason=body.reason, now_us=now_us
            )
        )
        await deps.refresh()
        return {"code": "SUCCESS", **stored.as_json(), **_running(deps)}


def _add_lists(router: APIRouter, deps: RulesDeps) -> None:
    context = deps.context

    @router.get("/lists")
    @needs(Act.READ)
    async def list_lists() -> dict[str, object]:
        """All lists and how much is on them (名单列表)."""
        with context.reader.connect() as conn:
            found = listing.all_lists(conn, context.clock_us())
        return {"lists": [asdict(one) for one in found], **_running(deps)}

    @router.get("/lists/{name}")
    @needs(Act.READ)
    async def show_list(
        name: str,
        *,
        removed: bool = False,
        after_id: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=PAGE_COUNT_MAX)] = 200,
    ) -> dict[str, object]:
        """What is on a list, page by page; `removed` also shows what was (名单条目)."""
        with context.reader.connect() as conn:
            purpose = listing.purpose_of(conn, name)
            found = listing.entries_of(conn, name, removed=removed, after_id=after_id, limit=limit)
        entries = [asdict(one) for one in found]
        return {"name": name, "purpose": purpose, "entries": entries}


def _add_list_changes(router: APIRouter, deps: RulesDeps) -> None:
    context = deps.context

    async def changed(job: Callable[[Connection], lists.Change]) -> dict[str, object]:
        change = await context.writer.run(job)
        await deps.refresh()
        return {"code": "SUCCESS", **_running(deps), **asdict(change)}

    @router.post("/lists")
    @needs(Act.CHANGE_RULES)
    async def create(body: ListBody, actor: str = _ACTING) -> dict[str, object]:
        """Create an empty list (新建名单)."""
        now_us = context.clock_us()
        version = await context.writer.run(
            lambda conn: lists.create_list(
                conn, body.name, body.purpose, actor=actor, reason=body.reason, now_us=now_us
            )
        )
        await deps.refresh()
        return {"code": "SUCCESS", "name": body.name, "list_version": version}

    @router.post("/lists/{name}/entries")
    @needs(Act.CHANGE_RULES)
    async def put_on(name: str, body: EntriesBody, actor: str = _ACTING) -> dict[str, object]:
        """Put words on a list (加入名单)."""
        now_us = context.clock_us()
        if any(len(value) > lists.VALUE_LENGTH_MAX for value in body.values):
            raise InvalidParameter("values", f"过长 / longer than {lists.VALUE_LENGTH_MAX}")
        new = [
            NewEntry(kind=body.kind, value=value, expires_at_us=body.expires_at_us)
            for value in body.values
        ]
        return await changed(
            lambda conn: lists.add_entries(
                conn,
                name,
                new,
                actor=actor,
                reason=body.reason,
                now_us=now_us,
                numbers=numbers_in(conn, deps.vault, now_us),
            )
        )

    @router.post("/lists/{name}/removals")
    @needs(Act.CHANGE_RULES)
    async def take_off(name: str, body: RemovalBody, actor: str = _ACTING) -> dict[str, object]:
        """Take entries off a list; they stay readable (移出名单)."""
        now_us = context.clock_us()
        return await changed(
            lambda conn: lists.remove_entries(
                conn,
                name,
                body.entry_ids,
                actor=actor,
                reason=body.reason,
                now_us=now_us,
            )
        )
