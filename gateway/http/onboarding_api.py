"""A merchant's way in over HTTP: ``/merchant/applications``, docs/ONBOARDING.md.

Registration is open to everybody and slowed down by address; everything after it wants the
application's token as a bearer. A stranger can't tell a wrong token from an application that does
not exist.
"""

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import Field

from gateway.domain.errors import GatewayError, InvalidParameter, RateLimited
from gateway.domain.limits import TokenBucket
from gateway.domain.merchant import Algorithm, KeyPurpose, Mode
from gateway.domain.onboarding import (
    AGREEMENT_VERSION,
    MATERIAL_BYTES_MAX,
    Details,
    MaterialKind,
)
from gateway.http.doorkeeper import (
    BODY_BYTES_MAX,
    OperatorBody,
    check_size,
    error_response,
    first_problem,
    refusals,
)
from gateway.payments import merchants, onboard
from gateway.payments.acts import SETTLEMENT_CHANGE
from gateway.payments.approvals import Approvals
from gateway.payments.merchants import OVERLAP_S_MAX, Change, KeyOrder
from gateway.payments.onboard import Credentials, Desk, File
from gateway.store.keys import NewKey

REGISTRATIONS_BURST = 20  # From one address at once; one more every 10 s.
ADDRESS_COUNT_MAX = 10_000
_SLOW_US = 10_000_000
_PREFIX = "/merchant/applications"

_Name = Annotated[str, Field(min_length=1, max_length=128)]


class RegisterBody(OperatorBody):
    """Who wants to become a merchant."""

    name: _Name = Field(description="Name for people. / 商户名称")
    mcc: str = Field(
        default="", pattern=r"^(\d{4})?$", description="Category, ISO 18245. / 商户类别码"
    )
    contact_name: _Name = Field(description="Who answers for it. / 联系人")
    contact_email: str = Field(
        max_length=128, pattern=r"^[^@\s]{1,64}@[^@\s]{1,63}$", description="联系邮箱"
    )
    contact_phone: str = Field(pattern=r"^\+?[0-9 -]{5,24}$", description="联系电话")
    algorithm: Algorithm = Field(
        default=Algorithm.HMAC_SHA256, description="Of the API key; not MD5. / 签名算法"
    )


class DetailsBody(OperatorBody):
    """Who the merchant is; checked to the last digit, kept sealed."""

    company_name: _Name = Field(description="As on the licence. / 企业名称")
    licence_no: str = Field(max_length=18, description="统一社会信用代码")
    legal_person_name: _Name = Field(description="法人姓名")
    legal_person_id_no: str = Field(max_length=18, description="法人身份证号码")
    bank_name: _Name = Field(description="开户银行")
    bank_account_name: _Name = Field(description="账户名称")
    bank_account_no: str = Field(max_length=32, description="银行账号")


class AccountBody(OperatorBody):
    """Another settlement account."""

    bank_name: _Name = Field(description="开户银行")
    bank_account_name: _Name = Field(description="账户名称")
    bank_account_no: str = Field(max_length=32, description="银行账号")


class AgreementBody(OperatorBody):
    """Acceptance of the agreement's text."""

    agreement_version: str = Field(max_length=32, description="The text's version. / 协议版本")


class KeyBody(OperatorBody):
    """A key that is wanted."""

    algorithm: Algorithm | None = Field(
        default=None, description="Left out: as the newest key. / 签名算法"
    )
    public_key: str = Field(
        default="", max_length=4_096, description="RSA2, SM2: your own, PEM or hex. / 商户公钥"
    )
    replaces: str = Field(
        default="", max_length=32, description="key_id it replaces. / 被替换的密钥"
    )
    overlap_s: int = Field(
        default=86_400,
        ge=0,
        le=OVERLAP_S_MAX,
        strict=True,
        description="How long the replaced key still verifies, in seconds. / 重叠期",
    )
    purpose: KeyPurpose = Field(
        default=KeyPurpose.API, description="NOTIFY: signs notifications alone. / 用途"
    )

    rotate_all: bool = Field(
        default=False, description="Replace every key of this purpose. / 全部轮换"
    )

    def as_order(self) -> KeyOrder:
        """Return it as the verb takes it."""
        return KeyOrder(**self.model_dump(exclude={"reason"}))


class NetworksBody(OperatorBody):
    """From where requests may come."""

    networks: list[str] = Field(
        max_length=64, description="Addresses and CIDR networks, v4 and v6; empty: any. / IP 白名单"
    )


class Registrar:
    """Slows down who registers too much, by address; remembers so many addresses and no more."""

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self._clock_us = clock_us
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def admit(self, address: str) -> None:
        """Let one registration through.

        Raises:
            RateLimited: (1006) if there were too many.
        """
        bucket = self._buckets.pop(address, None) or TokenBucket(
            token_us=_SLOW_US, burst=REGISTRATIONS_BURST
        )
        self._buckets[address] = bucket
        if len(self._buckets) > ADDRESS_COUNT_MAX:
            self._buckets.popitem(last=False)
        wait_us = bucket.take(self._clock_us())
        if wait_us:
            raise RateLimited(-(-wait_us // 1_000_000))


class _Route(APIRoute):
    """Answers refusals in the gateway's form, and nothing large is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        takes_files = self.path.endswith("/materials/{kind}")
        bytes_max = MATERIAL_BYTES_MAX if takes_files else BODY_BYTES_MAX

        async def answer(request: Request) -> Response:
            try:
                check_size(request, bytes_max)
                return await handle(request)
            except GatewayError as error:
                return error_response(error)
            except RequestValidationError as error:
                return error_response(first_problem(error))

        return answer


def onboarding_router(desk: Desk, approvals: Approvals, forget: Callable[[str], None]) -> APIRouter:
    """Make the routes under ``/merchant/applications``.

    Args:
        desk: What the verbs work with.
        approvals: Asks an operator where one must agree.
        forget: Told which merchant changed, so that its next request sees it.
    """
    router = APIRouter(
        prefix=_PREFIX,
        tags=["onboarding"],
        route_class=_Route,
        responses=refusals(400, 401, 404, 409, 413),
    )
    _add_registration(router, desk)

    def owner(
        merchant_id: str,
        authorization: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> str:
        onboard.authenticate(desk, merchant_id, authorization.removeprefix("Bearer "))
        return merchant_id

    owned = APIRouter(
        route_class=_Route,
        prefix="/{merchant_id}",
        dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(owner)],
    )
    _add_application(owned, desk, forget)
    _add_papers(owned, desk)
    _add_keys(owned, desk, forget)
    _add_account(owned, desk, approvals)
    router.include_router(owned)
    return router


def _add_registration(router: APIRouter, desk: Desk) -> None:
    registrar = Registrar(desk.context.clock_us)

    @router.post("", status_code=201, responses=refusals(429))
    async def register(body: RegisterBody, request: Request) -> dict[str, object]:
        """Begin an application; the token and the sandbox credentials are shown once (注册)."""
        registrar.admit(request.client.host if request.client else "")
        made = await onboard.register(
            desk,
            name=body.name,
            mcc=body.mcc,
            contact={
                "name": body.contact_name,
                "email": body.contact_email,
                "phone": body.contact_phone,
            },
            algorithm=body.algorithm,
        )
        return {
            "code": "SUCCESS",
            "merchant_id": made.merchant_id,
            "application_token": made.token,
            "sandbox": credentials_json(made.sandbox) if made.sandbox else None,
        }


def _add_application(router: APIRouter, desk: Desk, forget: Callable[[str], None]) -> None:
    @router.get("")
    async def show(merchant_id: str) -> dict[str, object]:
        """Where the application stands and what is still missing (申请状态)."""
        return file_json(onboard.read_file(desk, merchant_id))

    @router.put("/details")
    async def details(merchant_id: str, body: DetailsBody) -> dict[str, object]:
        """Say who the merchant is (填写企业、法人与账户信息)."""
        told = Details(**body.model_dump())
        return file_json(await onboard.give_details(desk, merchant_id, told))

    @router.post("/submit")
    async def submit(merchant_id: str) -> dict[str, object]:
        """Hand the application in for review (提交审核)."""
        return file_json(await onboard.submit(desk, merchant_id))

    @router.post("/withdraw")
    async def withdraw(merchant_id: str) -> dict[str, object]:
        """Give the application up for good (撤回申请)."""
        return file_json(await onboard.withdraw(desk, merchant_id))

    @router.post("/agreement")
    async def agree(merchant_id: str, body: AgreementBody) -> dict[str, object]:
        """Accept the agreement; the live credentials are in the answer, once (签署协议)."""
        made = await onboard.agree(desk, merchant_id, body.agreement_version)
        forget(merchant_id)
        return {"code": "SUCCESS", "live": credentials_json(made)}


def _add_papers(router: APIRouter, desk: Desk) -> None:
    files = {
        content_type: {"schema": {"type": "string", "format": "binary"}}
        for content_type in ("image/jpeg", "image/png", "application/pdf")
    }

    @router.post(
        "/materials/{kind}",
        status_code=201,
        openapi_extra={"requestBody": {"content": files, "required": True}},
    )
    async def upload(merchant_id: str, kind: MaterialKind, request: Request) -> dict[str, object]:
        """Hand in a paper: the file itself is the body (上传材料)."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        content = await request.body()
        return file_json(await onboard.add_paper(desk, merchant_id, kind, content_type, content))

    @router.delete("/materials/{material_id}")
    async def remove(merchant_id: str, material_id: str) -> dict[str, object]:
        """Take a paper back (删除材料)."""
        return file_json(await onboard.remove_paper(desk, merchant_id, material_id))


def _add_keys(router: APIRouter, desk: Desk, forget: Callable[[str], None]) -> None:
    def target(merchant_id: str, mode: Mode = Mode.LIVE) -> str:
        """Say which of the applicant's two merchants is meant."""
        if mode is Mode.LIVE:
            return merchant_id
        found = onboard.read_file(desk, merchant_id).application.sandbox_merchant_id
        if not found:
            raise InvalidParameter("mode", "this installation has no sandbox credentials")
        return found

    whose = Depends(target)

    @router.get("/keys")
    async def list_keys(target_id: str = whose) -> dict[str, object]:
        """The keys that still work; no secret (密钥列表)."""
        return {"keys": [asdict(key) for key in merchants.live_keys(desk, target_id)]}

    @router.post("/keys", status_code=201)
    async def order_key(
        merchant_id: str, body: KeyBody, target_id: str = whose
    ) -> dict[str, object]:
        """Get another key, or replace one; the secret is shown once (新增或轮换密钥)."""
        made = await merchants.order_key(desk, target_id, body.as_order(), _own(merchant_id))
        forget(target_id)
        return {"code": "SUCCESS", "key": key_json(made)}

    @router.delete("/keys/{key_id}")
    async def revoke(merchant_id: str, key_id: str, target_id: str = whose) -> dict[str, object]:
        """End a key at once (吊销密钥)."""
        await merchants.end_key(desk, target_id, key_id, _own(merchant_id))
        forget(target_id)
        return {"code": "SUCCESS", "key_id": key_id}

    @router.put("/networks")
    async def networks(
        merchant_id: str, body: NetworksBody, target_id: str = whose
    ) -> dict[str, object]:
        """Say from where requests may come (IP 白名单)."""
        kept = await merchants.set_networks(desk, target_id, body.networks, _own(merchant_id))
        forget(target_id)
        return {"code": "SUCCESS", "networks": kept}


def _add_account(router: APIRouter, desk: Desk, approvals: Approvals) -> None:
    @router.post("/settlement-account", status_code=202)
    async def change_account(merchant_id: str, body: AccountBody) -> dict[str, object]:
        """Ask for another settlement account; an operator must agree (变更结算账户)."""
        account = body.model_dump()
        shown = merchants.checked_account(desk, merchant_id, account)
        asked = await approvals.ask(
            SETTLEMENT_CHANGE,
            merchant_id,
            {"merchant_id": merchant_id, **account},
            shown=shown,
            actor=_own(merchant_id).actor,
            reason="asked for by the merchant",
        )
        return {"code": "SUCCESS", "approval_id": asked.approval_id, "status": asked.status}


def _own(merchant_id: str) -> Change:
    return Change(actor=f"merchant:{merchant_id}", reason="")


def file_json(file: File) -> dict[str, object]:
    """Write an application as an answer."""
    application = file.application
    return {
        "code": "SUCCESS",
        "merchant_id": file.standing.merchant_id,
        "name": file.standing.name,
        "status": file.standing.status.value,
        "version": file.standing.version,
        "sandbox_merchant_id": application.sandbox_merchant_id,
        "details": dict(application.details),
        "materials": [asdict(material) for material in file.materials],
        "missing": file.missing,
        "message": application.message,
        "agreement_version": application.agreement_version,
        "agreement_in_force": AGREEMENT_VERSION,
        "submitted_at_us": application.submitted_at_us,
    }


def credentials_json(made: Credentials) -> dict[str, object]:
    """Write credentials as an answer, by the specification's names."""
    return {
        "partner_id": made.merchant_id,
        "app_id": made.app_id,
        "mode": made.mode.value,
        "api_key": key_json(made.api_key),
        "key_pair": key_json(made.key_pair) if made.key_pair else None,
    }


def key_json(key: NewKey) -> dict[str, object]:
    """Write a new key as an answer: the one time its secret is shown."""
    return {
        "key_id": key.key_id,
        "algorithm": key.algorithm.value,
        "secret" if key.algorithm.is_shared else "private_key": key.secret,
        "public_key": key.public_key,
        "platform_public_key": key.platform_public_key,
    }
