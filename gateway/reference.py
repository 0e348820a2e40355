"""Pages that are made from the code, so that they can't disagree with it.

`yumen doctor --write-reference` writes them; a house test fails when they are out of date.
"""

from pathlib import Path

from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from gateway.domain.errors import ALL_ERRORS
from risk.reasons import CODES, SYSTEM, Code, features_by_code

_ERRORS_HEAD = """# Errors / 错误码

Made from `gateway/domain/errors.py` by `yumen doctor --write-reference`; do not edit by hand.
由代码生成, 请勿手工修改。

Every failure is answered with its HTTP status and
`{"code": "FAIL", "error_code": …, "msg": …, "remedy": …}`; `field` names the parameter at fault.
Codes 1001 to 1006 are the specification's, 1007 and above are ours.

| error_code | HTTP | class | message | 错误信息 | what to do | 处理建议 |
|---|---|---|---|---|---|---|
"""


_REASONS_HEAD = """# Reason codes / 风控原因码

Made from `risk/reasons.py` by `yumen doctor --write-reference`; do not edit by hand.
由代码生成, 请勿手工修改。

A code may be stored for years and shown to people, so it never changes its meaning; new ones are
added, none is reused. Every decision that is not a plain approval carries up to five, strongest
first: `SYSTEM_DEGRADED` if the full risk path did not decide, then the codes of the rules that
asked for the outcome, then what pushed the score up most (exact Shapley shares of the model's
log-odds, added up over the features of a code). A merchant finds them in `risk_reasons`, an
analyst in the console and with `yumen explain`.

编码含义永不改变, 只增不改。每笔非直接通过的决策最多带五个原因, 由强到弱: 降级, 规则,
模型特征的精确贡献 (Shapley 值, 按编码加总)。商户见 `risk_reasons`,
分析员见控制台和 `yumen explain`。

| code | family | meaning | 含义 | features that lead to it |
|---|---|---|---|---|
"""


def reasons_page() -> str:
    """Write the table of all reason codes in both languages, and which features lead to each."""
    features = features_by_code()
    rows = [
        f"| `{name}` | {code.family} | {code.en} | {code.zh} "
        f"| {', '.join(f'`{one}`' for one in features.get(name, ())) or _nothing(code)} |"
        for name, code in CODES.items()
    ]
    return _REASONS_HEAD + "\n".join(rows) + "\n"


def _nothing(code: Code) -> str:
    return "none: the engine itself" if code.family == SYSTEM else "none: rules alone"


def env_example(settings: type[BaseSettings]) -> str:
    """Write every setting as a commented line of a `.env` file, with its meaning and default."""
    lines = [
        "# Every setting of the gateway with its default; copy to .env and change what you need.",
        "# 网关全部配置项及默认值; 复制为 .env 后按需修改。",
        "# Made from gateway/settings.py by `yumen doctor --write-reference`.",
    ]
    for name, field in settings.model_fields.items():
        default = "" if field.default is PydanticUndefined else field.default
        lines += ["", f"# {field.description}", f"# YUMEN_{name.upper()}={default}"]
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Write the table of all errors in both languages."""
    rows = [
        f"| {error.code} | {error.http_status} | `{error.__name__}` | {error.title_en} "
        f"| {error.title_zh} | {error.remedy_en} | {error.remedy_zh} |"
        for error in ALL_ERRORS
    ]
    return _ERRORS_HEAD + "\n".join(rows) + "\n"


def pages(settings: type[BaseSettings]) -> dict[str, str]:
    """Return every generated page by its path in the repository."""
    return {
        ".env.example": env_example(settings),
        "docs/ERRORS.md": errors_page(),
        "docs/REASONS.md": reasons_page(),
    }


def write(root: Path, settings: type[BaseSettings]) -> list[Path]:
    """Write all pages below `root` and return their paths."""
    written = []
    for name, content in pages(settings).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        written.append(path)
    return written
