"""What can be wrong with a rule, said in English and Chinese, with the place where it is wrong."""

from typing import Final

PROBLEMS: Final[dict[str, tuple[str, str]]] = {
    "syntax": ("not an expression: {detail}", "不是合法的表达式: {detail}"),
    "long": ("longer than {most} characters", "超过 {most} 个字符"),
    "parts": ("more than {most} parts", "组成部分超过 {most} 个"),
    "deep": ("nested deeper than {most} levels", "嵌套超过 {most} 层"),
    "character": (
        "the character {char} does not belong into a rule; write names in plain letters",
        "规则中不能使用字符 {char}; 名称请用普通字母",
    ),
    "node": ("{what} is not part of the language", "语言中没有 {what}"),
    "call": (
        "missing(name) and units such as yuan(500) are the only calls there are",
        "只能调用 missing(名称) 和单位, 例如 yuan(500)",
    ),
    "unit_call": ("write {unit}(number), as {unit}(5)", "请写成 {unit}(数字), 例如 {unit}(5)"),
    "list_call": (
        'write the list as list("name"), after in or not in',
        '请在 in 或 not in 之后写 list("名称")',
    ),
    "truth": (
        "a rule must compare something: a number is not a yes or no",
        "规则必须比较: 数字不是「是」或「否」",
    ),
    "number": ("a number is wanted here, not a {kind}", "此处需要数字, 而不是 {kind}"),
    "constant": ("{value} is neither a number nor a word", "{value} 既不是数字也不是文字"),
    "large": ("the number is too large", "数字过大"),
    "zero": ("this divides by zero", "除数为零"),
    "order": ("{name} has no order; use == or !=", "{name} 没有大小之分; 请用 == 或 !="),
    "word": (
        '{name} compares with a word in quotes, as "abc"',
        '{name} 只能与引号中的文字比较, 例如 "abc"',
    ),
    "nothing": (
        "{text!r} is empty or unknown: no payment can have it as its {name}",
        "{text!r} 为空或未知: 没有交易的 {name} 会与之相符",
    ),
    "code": (
        "{name} is a code of {count} letters or digits, as {example!r}",
        "{name} 是 {count} 位字母或数字代码, 例如 {example!r}",
    ),
    "person": (
        'people are named on lists, where their names can be erased: {name} in list("…")',
        '请把个人放入名单, 以便日后删除其标识: {name} in list("…")',
    ),
    "kinds": (
        "{left} and {right} are different kinds of word and never equal",
        "{left} 与 {right} 是不同种类的文字, 永不相等",
    ),
    "choices": ("write the choices as {{…}}", "请用 {{…}} 写出各个选项"),
    "choice": ("a choice must be a number written out", "选项必须是写明的数字"),
    "name": ("unknown name {name!r}{close}", "未知名称 {name!r}{close}"),
    "list": ("unknown list {name!r}{close}", "未知名单 {name!r}{close}"),
    "units": (
        "{left_name} is in {left} and {right_name} in {right}: they measure different things",
        "{left_name} 的单位是 {left}, {right_name} 的单位是 {right}: 二者度量不同的量",
    ),
    "scale": (
        "{left_name} is in {left} and {right_name} in {right}; divide both by {unit}(1)",
        "{left_name} 的单位是 {left}, {right_name} 的单位是 {right}; 请都除以 {unit}(1)",
    ),
    "no_unit": (
        "{left} {sign} {right} has no unit here; divide by a unit first, as amount / yuan(1)",
        "{left} {sign} {right} 没有可用的单位; 请先除以一个单位, 例如 amount / yuan(1)",
    ),
    "twice": ("the name stands twice", "名称重复"),
    "reason": ("unknown reason code {given!r}{close}", "未知原因代码 {given!r}{close}"),
    "rule_name": (
        "a name has 1 to 64 lower-case letters, digits and _ and begins with a letter",
        "名称须为 1 至 64 个小写字母、数字或下划线, 且以字母开头",
    ),
    "validity": ("valid_to_us must come after valid_from_us", "失效时间必须晚于生效时间"),
    "unresolved": (
        "the stored set does not say which number {word} is",
        "存档的规则集没有 {word} 对应的编号",
    ),
}


class RuleError(ValueError):
    """An expression is not a rule; says which rule, where, and what would do.

    Attributes:
        rule: The rule's name.
        code: What is wrong, a key of `PROBLEMS`.
        problem: The same in English.
        problem_zh: The same in Chinese.
        line: Where, from 0.
        column: Where in that line, from 0, in characters.
    """

    def __init__(
        self, rule: str, code: str, *, line: int = 0, column: int = 0, **values: object
    ) -> None:
        english, chinese = PROBLEMS[code]
        close = values.pop("close", "")
        self.rule = rule
        self.code = code
        self.line = line
        self.column = column
        self.problem = english.format(**values, close=f"; did you mean {close!r}?" if close else "")
        self.problem_zh = chinese.format(**values, close=f", 是否指 {close!r}" if close else "")
        super().__init__(f"rule {rule!r}, {self.place}: {self.problem}")

    @property
    def place(self) -> str:
        """Where it is, for people; lines and columns count from 1."""
        line = f"line {self.line + 1}, " if self.line else ""
        return f"{line}column {self.column + 1}"
