"""The command line that serves the console; all of its configuration is here, none in files.

`runner.postScriptGC` is off because Streamlit otherwise runs a full garbage collection after every
refresh of every live tab: with it, ten tabs wait 0.9 s for each refresh, without it 0.02 s.
"""

from pathlib import Path

APP = Path(__file__).with_name("app.py")

_THEME = {
    "primaryColor": "#0d8a72",
    "baseRadius": "0.5rem",
    "showWidgetBorder": "true",
}
_LIGHT = {
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f3f6f5",
    "textColor": "#1c2725",
    "borderColor": "#dde5e2",
    "dataframeHeaderBackgroundColor": "#f3f6f5",
    "sidebar.backgroundColor": "#f3f6f5",
}
_DARK = {
    "backgroundColor": "#111816",
    "secondaryBackgroundColor": "#1a2421",
    "textColor": "#e3ebe8",
    "borderColor": "#2b3834",
    "dataframeHeaderBackgroundColor": "#1a2421",
    "sidebar.backgroundColor": "#161f1c",
}
OPTIONS: dict[str, str] = {
    "server.address": "127.0.0.1",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "runner.postScriptGC": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "global.developmentMode": "false",
    **{f"theme.{name}": value for name, value in _THEME.items()},
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
}


def command(
    python: str, var: Path, api_url: str, port: int, *, database_url: str = ""
) -> list[str]:
    """Return the command that serves the console.

    Args:
        python: The interpreter of the environment that Yumen is installed in.
        var: The folder of all embedded state: database and operator token.
        api_url: Base URL of the gateway, for its admin API.
        port: Port of the console, on the loopback address alone.
        database_url: The gateway's database, without a password; empty: the one in the folder.
    """
    flags = [f"--{name}={value}" for name, value in OPTIONS.items()]
    app_arguments = ["--var", str(var.absolute()), "--api-url", api_url]
    if database_url:
        app_arguments += ["--database-url", database_url]
    run = [python, "-m", "streamlit", "run", str(APP), f"--server.port={port}"]
    return [*run, *flags, "--", *app_arguments]
