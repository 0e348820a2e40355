"""The repository as a stranger gets it: pages current, nothing secret, nothing of a machine."""

import re
import subprocess
from pathlib import Path

import pytest

from gateway import reference
from gateway.channels.registry import ADAPTERS
from gateway.domain.errors import ALL_ERRORS, GatewayError
from gateway.settings import Settings
from risk.features import catalogue

ROOT = Path(__file__).resolve().parents[2]
BYTES_MAX = 1_500_000
TEXT = {".py", ".md", ".toml", ".lock", ".txt", ".json", ".ipynb", ".yaml", ".yml", ".mako", ""}


def files() -> list[Path]:
    """Return what belongs to the repository: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 - git
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git work tree: nothing says what belongs to it")
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_files() -> list[Path]:
    return [path for path in files() if path.suffix in TEXT]


def test_env_example_lists_every_setting() -> None:
    assert (ROOT / ".env.example").read_text("utf-8") == reference.env_example(Settings)


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_the_errors_page_is_current() -> None:
    assert (ROOT / "docs/ERRORS.md").read_text("utf-8") == reference.errors_page()


def test_the_reasons_page_is_current() -> None:
    assert (ROOT / "docs/REASONS.md").read_text("utf-8") == reference.reasons_page()


def test_the_features_page_is_current() -> None:
    assert (ROOT / "docs/FEATURES.md").read_text("utf-8") == catalogue.documentation()


def kinds_of(error: type[GatewayError]) -> set[type[GatewayError]]:
    children = set(error.__subclasses__())
    return children.union(*(kinds_of(child) for child in children))


def test_every_error_is_listed_and_speaks_both_languages() -> None:
    ours = {
        error for error in kinds_of(GatewayError) if error.__module__ == "gateway.domain.errors"
    }

    assert ours == set(ALL_ERRORS)
    for error in ALL_ERRORS:
        for chinese in (error.title_zh, error.remedy_zh):
            assert re.search("[\u4e00-\u9fff]", chinese), error
        for english in (error.title_en, error.remedy_en):
            assert re.search("[A-Za-z]{3}", english), error


def test_every_channel_is_in_the_conformance_suite() -> None:
    """The suite runs over the registry, so an adapter outside of it would go untested."""
    for path in (ROOT / "gateway/channels").glob("[a-z]*.py"):
        if "\nADAPTER: Final" in path.read_text("utf-8"):
            assert path.stem in ADAPTERS, path.stem


def test_the_lock_files_pin_by_hash_and_name_no_host() -> None:
    for name in ("requirements.lock", "bootstrap.lock"):
        text = (ROOT / name).read_text("utf-8")
        pinned = re.findall(r"^[a-z0-9][^\s=]*==\S+", text, re.MULTILINE)
        assert pinned, name
        assert text.count("--hash=sha256:") >= len(pinned), name
        assert "://" not in text, name


def test_no_file_knows_a_machine() -> None:
    # Spelt apart, so that this file does not find itself.
    homes = "|".join(("/ho" + "me/[a-z]", "/ro" + "ot/", "/Us" + "ers/[a-z]", "/wo" + "rk/"))
    pattern = re.compile(rf"(?<![\w.~-])(?:{homes})")
    for path in text_files():
        assert pattern.findall(path.read_text("utf-8")) == [], path.relative_to(ROOT)


def test_no_file_names_a_package_registry() -> None:
    hosts = ("pypi." + "org", "pythonhosted." + "org", "registry." + "npmjs")
    for path in text_files():
        text = path.read_text("utf-8")
        assert not any(host in text for host in hosts), path.relative_to(ROOT)


def test_no_private_key_is_kept() -> None:
    # A whole key: the word alone also stands in code that recognises one.
    pattern = re.compile("-----BEGIN [A-Z ]*PRIVATE" + r" KEY-----\s+[A-Za-z0-9+/=\s]{64}")
    for path in text_files():
        assert pattern.search(path.read_text("utf-8")) is None, path.relative_to(ROOT)


def test_no_file_is_huge() -> None:
    for path in files():
        assert path.stat().st_size <= BYTES_MAX, path.relative_to(ROOT)


def test_run_time_files_are_ignored() -> None:
    for path in files():
        assert path.relative_to(ROOT).parts[0] not in {"var", ".venv"}
