"""Which languages are at home in which countries: enough to notice who does not fit.

English says nothing (half the world's phones speak it), nor does a language that is not listed.
"""

from typing import Final

_ARABIC: Final = "AE BH DJ DZ EG EH IL IQ JO KM KW LB LY MA MR OM PS QA SA SD SO SY TD TN YE"
_FRENCH: Final = (
    "FR BE BF BI BJ BL CA CD CF CG CH CI CM DJ DZ GA GF GN GP GQ HT KM LU MA MC MF MG ML MQ MR MU"
    " NC NE PF PM RE RW SC SN TD TF TG TN VU WF YT"
)
_SPANISH: Final = "ES AD AR BO CL CO CR CU DO EC GQ GT HN MX NI PA PE PH PR PY SV US UY VE"
_RUSSIAN: Final = "RU AM AZ BY EE GE IL KG KZ LT LV MD TJ TM UA UZ"
_HOMES: Final = {
    "zh": "CN HK MO TW SG MY",
    "yue": "HK MO CN",
    "ja": "JP",
    "ko": "KR KP",
    "th": "TH",
    "vi": "VN",
    "id": "ID",
    "ms": "MY BN SG ID",
    "fil": "PH",
    "tl": "PH",
    "km": "KH",
    "lo": "LA",
    "my": "MM",
    "mn": "MN CN",
    "hi": "IN FJ",
    "bn": "BD IN",
    "ta": "IN LK MY SG",
    "te": "IN",
    "mr": "IN",
    "gu": "IN",
    "kn": "IN",
    "ml": "IN",
    "pa": "IN PK",
    "ur": "PK IN",
    "si": "LK",
    "ne": "NP IN",
    "kk": "KZ",
    "ky": "KG",
    "uz": "UZ",
    "az": "AZ",
    "ka": "GE",
    "hy": "AM",
    "ru": _RUSSIAN,
    "uk": "UA",
    "be": "BY",
    "de": "DE AT BE CH IT LI LU",
    "fr": _FRENCH,
    "es": _SPANISH,
    "pt": "PT AO BR CV GW LU MO MZ ST TL",
    "it": "IT CH SM VA",
    "nl": "NL AW BE BQ CW SR SX",
    "pl": "PL",
    "cs": "CZ SK",
    "sk": "SK CZ",
    "hu": "HU RO SK",
    "ro": "RO MD",
    "bg": "BG",
    "el": "GR CY",
    "tr": "TR CY",
    "sv": "SE AX FI",
    "nb": "NO SJ",
    "nn": "NO",
    "no": "NO SJ",
    "da": "DK FO GL",
    "fi": "FI AX",
    "is": "IS",
    "et": "EE",
    "lv": "LV",
    "lt": "LT",
    "sl": "SI",
    "hr": "HR BA",
    "sr": "RS BA ME",
    "he": "IL",
    "iw": "IL",
    "ar": _ARABIC,
    "fa": "IR AF",
    "sw": "KE TZ UG",
    "am": "ET",
}
LANGUAGES: Final = {language: frozenset(homes.split()) for language, homes in _HOMES.items()}
_LONGEST_TAG: Final = 35  # RFC 5646: what a receiver must at least take.


def primary(tag: str) -> str:
    """Return the language of a tag or of an Accept-Language header's first choice.

    Examples:
        >>> primary("zh-Hans-CN"), primary("de-DE,de;q=0.9,en;q=0.8"), primary("FR_fr")
        ('zh', 'de', 'fr')
    """
    first = tag[:_LONGEST_TAG].split(",", 1)[0].split(";", 1)[0]
    return first.replace("_", "-").split("-", 1)[0].strip().lower()


def at_home(language: str, country: str) -> bool | None:
    """Whether a language (as `primary` returns it) is at home in a country; None: can't say.

    Examples:
        >>> at_home("zh", "SG"), at_home("vi", "US"), at_home("en", "CN")
        (True, False, None)
    """
    homes = LANGUAGES.get(language)
    return None if homes is None else country in homes
