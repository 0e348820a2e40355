"""The console is served on the loopback address alone, reports nothing, and is told everything."""

from pathlib import Path

from streamlit import config

from dashboard.launch import APP, OPTIONS, command


def test_the_command_names_the_state_and_the_gateway(tmp_path: Path) -> None:
    line = command("python", tmp_path, "http://127.0.0.1:8000", 8501)

    assert line[:4] == ["python", "-m", "streamlit", "run"]
    assert Path(line[4]) == APP
    assert APP.is_file()
    assert line[line.index("--") :] == [
        "--",
        "--var",
        str(tmp_path),
        "--api-url",
        "http://127.0.0.1:8000",
    ]


def test_a_relative_folder_is_made_absolute() -> None:
    line = command("python", Path("var"), "http://127.0.0.1:8000", 8501)

    assert Path(line[line.index("--var") + 1]).is_absolute()


def test_streamlit_knows_every_option() -> None:
    assert set(OPTIONS) <= set(config.get_config_options())


def test_nothing_is_collected_between_refreshes_and_nothing_is_reported() -> None:
    assert OPTIONS["runner.postScriptGC"] == "false"
    assert OPTIONS["browser.gatherUsageStats"] == "false"
    assert OPTIONS["server.address"] == "127.0.0.1"
