"""docs/RULES.md teaches what is true: rules compile, refusals happen, no word is left out."""

import re
from pathlib import Path

import pytest

from risk.rules.language import DEPTH_MAX, LENGTH_MAX, PART_COUNT_MAX, parse
from risk.rules.names import WORDS
from risk.rules.problems import RuleError
from risk.rules.source import RuleState
from risk.rules.units import CONSTRUCTORS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "RULES.md").read_text("utf-8")
EXAMPLES = [
    rule
    for block in re.findall(r"```rule\n(.*?)```", PAGE, re.DOTALL)
    for rule in block.strip().split("\n\n")
]
REFUSED = re.findall(
    r"^\| `([^`]+)` \| ([^|]+) \|$", PAGE.split("## When a rule is refused")[1], re.MULTILINE
)


@pytest.mark.parametrize("expression", EXAMPLES)
def test_every_example_is_a_rule(expression: str) -> None:
    parse("example", expression)


@pytest.mark.parametrize(("expression", "told"), REFUSED)
def test_every_refusal_says_what_the_page_says(expression: str, told: str) -> None:
    with pytest.raises(RuleError) as refusal:
        parse("example", expression, list_names=["stolen"])

    for part in told.split("…"):
        assert part.strip() in refusal.value.problem


def test_the_page_names_every_word_unit_state_and_limit() -> None:
    assert len(EXAMPLES) >= 9
    assert len(REFUSED) >= 9
    for name in (*WORDS, *(f"{unit}(n)" for unit in CONSTRUCTORS)):
        assert f"`{name}`" in PAGE
    for state in RuleState:
        assert state in PAGE
    for limit in (f"{LENGTH_MAX:,} characters", f"{PART_COUNT_MAX}", f"{DEPTH_MAX} levels"):
        assert limit in PAGE.replace("\n", " ")
