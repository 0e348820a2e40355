"""A machine with nothing but Python and make still finds an OpenMP runtime."""

import sys
from pathlib import Path

import pytest

from gateway import native

BUNDLED = "lib/python3.11/site-packages/scikit_learn.libs/libgomp-1234.so.1.0.0"


def prefix(folder: Path) -> Path:
    bundled = folder / BUNDLED
    bundled.parent.mkdir(parents=True)
    bundled.write_bytes(b"\x7fELF")
    return folder


def test_the_bundled_runtime_gets_the_name_lightgbm_asks_for(tmp_path: Path) -> None:
    folder = native.link_bundled_openmp(prefix(tmp_path))

    assert folder is not None
    assert (folder / native.LIBRARY).read_bytes() == b"\x7fELF"
    assert native.link_bundled_openmp(tmp_path) == folder


def test_without_a_bundled_runtime_there_is_nothing_to_link(tmp_path: Path) -> None:
    assert native.link_bundled_openmp(tmp_path) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux needs it")
def test_a_process_starts_again_once_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(prefix(tmp_path)))
    monkeypatch.setattr(native, "openmp_loads", lambda: False)

    first = native.environment_with_openmp({"LD_LIBRARY_PATH": "/opt/lib", "A": "b"})

    assert first is not None
    assert first["LD_LIBRARY_PATH"] == f"{tmp_path / 'lib' / 'native'}:/opt/lib"
    assert first["A"] == "b"
    assert native.environment_with_openmp(first) is None


def test_a_machine_that_has_one_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "openmp_loads", lambda: True)

    assert native.environment_with_openmp({}) is None
