"""Files keep the house's rules: short, explained, sensibly named, and free of left-overs."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "risk", "models", "dashboard")
LINES_MAX = 400
FORBIDDEN_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "service", "manager"})
PRODUCT = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ALL_PYTHON = [*PRODUCT, *sorted((ROOT / "tests").rglob("*.py"))]
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_look_at() -> None:
    assert len(PRODUCT) > 50


@pytest.mark.parametrize("path", ALL_PYTHON, ids=name_of)
def test_a_file_can_be_held_in_mind(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", ALL_PYTHON, ids=name_of)
def test_a_file_is_named_after_what_it_is_about(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert path.parent.name not in FORBIDDEN_NAMES


def undocumented(node: Documented, where: str) -> Iterator[str]:
    """Yield public modules, classes and functions without a docstring; methods speak by name."""
    if ast.get_docstring(node) is None:
        yield where
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            in_class = isinstance(node, ast.ClassDef)
            if in_class and not isinstance(child, ast.ClassDef):
                continue
            yield from undocumented(child, f"{where}.{child.name}")


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_what_is_public_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))

    # Functions inside functions are nobody's interface.
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [child for child in node.body if not isinstance(child, ast.ClassDef)]
            node.body = [child for child in node.body if not isinstance(child, ast.FunctionDef)]
            node.body = [
                child for child in node.body if not isinstance(child, ast.AsyncFunctionDef)
            ]

    assert list(undocumented(tree, path.stem)) == []


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_a_module_docstring_says_more_than_todo(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""

    assert len(docstring) >= 20, f"{name_of(path)} says only {docstring!r}"


def comments(path: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", ALL_PYTHON, ids=name_of)
def test_an_exception_from_a_rule_names_the_rule(path: Path) -> None:
    for line, comment in comments(path):
        assert not re.search(r"\bnoqa\b(?!:\s*[A-Z]+[0-9]+)", comment), f"line {line}: {comment}"
        assert not re.search(r"type:\s*ignore(?!\[[a-z-]+)", comment), f"line {line}: {comment}"


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_nothing_is_left_unfinished(path: Path) -> None:
    unfinished = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "HA" + "CK")))
    for line, comment in comments(path):
        assert not unfinished.search(comment), f"line {line}: {comment}"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            assert "NotImplementedError" not in ast.unparse(node.exc), f"line {node.lineno}"


# Words that say money, time or size, and the unit such a name must then end in.
MEASURES = re.compile(
    r"(^|_)(amount|timeout|delay|duration|elapsed|interval|deadline|overlap|ttl)$"
)


NUMBERS = frozenset({"int", "float", "int | None", "float | None"})


def numbers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield names annotated as int or float: fields, variables and parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, annotation = node.target.id, ast.unparse(node.annotation)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            name, annotation = node.arg, ast.unparse(node.annotation)
        else:
            continue
        if annotation in NUMBERS:
            yield node.lineno, name


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_a_number_of_money_time_or_size_names_its_unit(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    unitless = [(line, name) for line, name in numbers(tree) if MEASURES.search(name.lower())]

    assert unitless == []


def test_the_unit_rule_can_fail() -> None:
    tree = ast.parse("timeout: float = 1.0\ndef f(amount: int, amount_minor: int) -> None: ...")

    assert [name for _, name in numbers(tree) if MEASURES.search(name)] == ["timeout", "amount"]


def test_the_docstring_rule_can_fail() -> None:
    tree = ast.parse('"""Module."""\ndef f(): ...\nclass C:\n    """C."""\n    def m(self): ...')

    assert list(undocumented(tree, "x")) == ["x.f"]
