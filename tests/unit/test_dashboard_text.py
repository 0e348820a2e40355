"""Every word the console shows exists in both languages, and every word that exists is shown."""

import re
import string
from pathlib import Path

import pytest

from dashboard.parts.text import ALL_TEXT, LANGUAGES, Language, Words, language_of
from gateway.domain.merchant import MerchantStatus
from gateway.domain.order import Status
from gateway.recon.match import BreakKind
from risk.decision import RiskOutcome

SOURCES = [
    path.read_text(encoding="utf-8")
    for path in (Path(__file__).parents[2] / "dashboard").rglob("*.py")
    if not path.name.startswith("text")
]


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", ALL_TEXT)
def test_both_languages_say_something_with_the_same_placeholders(key: str) -> None:
    chinese, english = ALL_TEXT[key]

    assert chinese
    assert english
    assert placeholders(chinese) == placeholders(english)


@pytest.mark.parametrize("key", ALL_TEXT)
def test_english_is_english(key: str) -> None:
    assert not re.search(r"[\u4e00-\u9fff]", ALL_TEXT[key][1])


def test_every_text_a_page_names_exists() -> None:
    named = {key for source in SOURCES for key in re.findall(r'words\(\s*"([^"]+)"', source)}

    assert named
    assert named <= set(ALL_TEXT)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_the_domain_is_translated(language: Language) -> None:
    words = Words(language)
    spoken = [
        *(("outcome", outcome) for outcome in RiskOutcome),
        *(("status", status) for status in Status),
        *(("merchant", status) for status in MerchantStatus),
        *(("break", kind) for kind in BreakKind),
    ]
    untranslated = [(prefix, word) for prefix, word in spoken if words.known(prefix, word) == word]

    assert untranslated == []


def test_an_unknown_word_of_the_data_is_shown_as_it_is() -> None:
    assert Words("zh").known("status", "BRAND_NEW") == "BRAND_NEW"


@pytest.mark.parametrize(
    ("asked", "given"), [("en", "en"), ("zh", "zh"), ("fr", "zh"), (None, "zh"), (["en"], "zh")]
)
def test_chinese_unless_english_is_asked_for(asked: object, given: Language) -> None:
    assert language_of(asked) == given
