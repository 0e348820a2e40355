"""The notification schedule is the specification's, to the second."""

from gateway.worker.notify import GIVE_UP_AFTER_S, RETRY_DELAYS_S, next_attempt_at_s


def test_the_delays_are_those_of_the_specification() -> None:
    minutes = [2, 10, 30, 60, 120, 360, 720]

    assert list(RETRY_DELAYS_S) == [60 * m for m in minutes]


def test_seven_retries_follow_the_first_attempt_and_all_within_a_day() -> None:
    first_s = 1_000_000
    due = [next_attempt_at_s(first_s, attempts) for attempts in range(1, 9)]
    times = [at_s for at_s in due if at_s is not None]

    assert len(times) == 7
    assert due[7] is None
    assert times == sorted(times)
    assert times[-1] - first_s == 78_120
    assert times[-1] - first_s <= GIVE_UP_AFTER_S
