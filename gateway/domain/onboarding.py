"""What an applicant must hand in, and how each piece is checked before a person looks at it.

Checks of numbers follow the national standards: GB 32100-2015 (unified social credit code, ISO
7064 MOD 31-3 weights) and GB 11643-1999 (citizen's number, ISO 7064 MOD 11-2).
"""

import re
from dataclasses import dataclass, fields
from enum import StrEnum

from gateway.domain.errors import InvalidParameter

AGREEMENT_VERSION = "2026-11"
MATERIAL_BYTES_MAX = 2_097_152  # 2 MB, what WeChat Pay takes from its own applicants.
MATERIAL_COUNT_MAX = 12


class MaterialKind(StrEnum):
    """The papers the specification asks for."""

    LICENCE = "licence"  # 营业执照
    LEGAL_PERSON_ID = "legal_person_id"  # 法人身份证
    BANK_ACCOUNT = "bank_account"  # 银行账户信息
    SHOP_PHOTO = "shop_photo"  # 商户照片


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Details:
    """What an applicant says of itself; building one checks it.

    Attributes:
        company_name: As on the licence.
        licence_no: Unified social credit code, 18 characters.
        legal_person_name: As on the ID.
        legal_person_id_no: Citizen's number, 18 characters.
        bank_name: Where the settlement account is.
        bank_account_name: Whose it is.
        bank_account_no: Its number, 8 to 32 digits.

    Raises:
        InvalidParameter: (1001) naming the field.
    """

    company_name: str
    licence_no: str
    legal_person_name: str
    legal_person_id_no: str
    bank_name: str
    bank_account_name: str
    bank_account_no: str

    def __post_init__(self) -> None:
        if not is_licence_no(self.licence_no):
            raise InvalidParameter("licence_no", "is not a unified social credit code")
        if not is_citizen_no(self.legal_person_id_no):
            raise InvalidParameter("legal_person_id_no", "is not a citizen's number")
        if _ACCOUNT.fullmatch(self.bank_account_no) is None:
            raise InvalidParameter("bank_account_no", "must have 8 to 32 digits")
        for name in ("company_name", "legal_person_name", "bank_name", "bank_account_name"):
            value = getattr(self, name)
            if not 1 <= len(value) <= NAME_LENGTH_MAX or not value.isprintable():
                raise InvalidParameter(name, f"must have 1 to {NAME_LENGTH_MAX} characters")

    def masked(self) -> dict[str, str]:
        """Return it as operators and logs may see it: numbers by their last four characters."""
        shown = {field.name: str(getattr(self, field.name)) for field in fields(self)}
        for name in ("legal_person_id_no", "bank_account_no"):
            shown[name] = "*" * (len(shown[name]) - 4) + shown[name][-4:]
        shown["legal_person_name"] = shown["legal_person_name"][:1] + "*"
        return shown

    def __repr__(self) -> str:  # A person's numbers never reach a log through a repr.
        return f"Details({self.company_name})"


NAME_LENGTH_MAX = 128
_ACCOUNT = re.compile(r"[0-9]{8,32}", re.ASCII)
_CREDIT_LETTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_LENGTH = 18
_CITIZEN = re.compile(r"[1-9][0-9]{16}[0-9X]", re.ASCII)
_CITIZEN_CHECK = "10X98765432"


def is_licence_no(text: str) -> bool:
    """Say whether `text` is a unified social credit code with its right check character.

    Examples:
        >>> is_licence_no("91350100M000100Y43"), is_licence_no("91350100M000100Y44")
        (True, False)
    """
    if len(text) != _CREDIT_LENGTH or any(letter not in _CREDIT_LETTERS for letter in text):
        return False
    total = sum(
        _CREDIT_LETTERS.index(letter) * pow(3, place, 31) for place, letter in enumerate(text[:-1])
    )
    return _CREDIT_LETTERS[-total % 31] == text[-1]


def is_citizen_no(text: str) -> bool:
    """Say whether `text` is a citizen's number with its right check character.

    Examples:
        >>> is_citizen_no("11010519491231002X"), is_citizen_no("110105194912310021")
        (True, False)
    """
    if _CITIZEN.fullmatch(text) is None:
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(text[:-1]))
    return _CITIZEN_CHECK[total % 11] == text[-1]


def missing(kinds: set[MaterialKind], *, has_details: bool) -> list[str]:
    """Name what must still be handed in before an application can be submitted."""
    lacking = [kind.value for kind in MaterialKind if kind not in kinds]
    return lacking if has_details else ["details", *lacking]
