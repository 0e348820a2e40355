"""Which account serves a payment, and when another one is asked."""

from gateway.channels.base import Outcome
from gateway.payments.route import FAILURES_MAX, OUT_US, Health, Routes

TABLE = [
    ("M1", "alipay", "own-first"),
    ("M1", "alipay", "own-second"),
    ("", "alipay", "house"),
    ("", "wechat", "house-wechat"),
]


class Clock:
    now_us = 0

    def __call__(self) -> int:
        return self.now_us


def routes() -> tuple[Routes, Clock]:
    clock = Clock()
    made = Routes(Health(clock))
    made.use(TABLE)
    return made, clock


def silence(made: Routes, account: str, times: int) -> None:
    for _ in range(times):
        made.health.heard(account, Outcome.UNKNOWN)


def test_a_merchants_own_accounts_come_before_the_houses() -> None:
    made, _ = routes()

    assert made.candidates("M1", "alipay") == ("own-first", "own-second", "house")
    assert made.choose("M1", "alipay") == "own-first"
    assert made.choose("M2", "alipay") == "house"
    assert made.choose("M1", "wechat") == "house-wechat"
    assert made.choose("M1", "crypto") == ""


def test_an_account_that_does_not_answer_is_passed_over_for_a_while() -> None:
    made, clock = routes()
    silence(made, "own-first", FAILURES_MAX - 1)
    assert made.choose("M1", "alipay") == "own-first"

    silence(made, "own-first", 1)
    assert made.choose("M1", "alipay") == "own-second"
    clock.now_us += OUT_US
    assert made.choose("M1", "alipay") == "own-first"
    silence(made, "own-first", 1)
    assert made.choose("M1", "alipay") == "own-second"

    made.health.heard("own-first", Outcome.ACCEPTED)
    assert made.choose("M1", "alipay") == "own-first"


def test_the_last_one_is_asked_even_if_all_are_out() -> None:
    made, _ = routes()
    silence(made, "house-wechat", FAILURES_MAX)

    assert made.choose("M1", "wechat") == "house-wechat"
    assert made.health.out() == ["house-wechat"]


def test_after_a_refusal_the_next_untried_one_that_answers_is_asked() -> None:
    made, _ = routes()
    silence(made, "own-second", FAILURES_MAX)

    assert made.after("M1", "alipay", ("own-first",)) == "house"
    assert made.after("M1", "alipay", ("own-first", "house")) == ""
