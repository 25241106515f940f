from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.answer.limits import FIRST_WAIT, LONGEST_WAIT, backoff
from nlft.answer.response import RETRIED, parse_duration, pause_after, retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:07 GMT"}, 7.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:59:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("7", 7.0), ("", None), ("1s!", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, 0.0),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "9s"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}, 9.0),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1m",
            },
            60.0,
        ),
        ({"x-ratelimit-remaining-tokens": "0"}, 0.0),
    ],
)
def test_rate_limit_headers(headers: dict[str, str], pause: float) -> None:
    assert pause_after(headers) == pause


@settings(deadline=None)
@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True), st.one_of(st.none(), st.floats(0, 1e4)))
def test_waits_stay_in_their_bounds(attempt: int, chance: float, asked: float | None) -> None:
    seconds = backoff(attempt, chance, asked)
    if asked is None:
        full = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1))
        assert full / 2 <= seconds <= full
    else:
        assert asked <= seconds <= asked + FIRST_WAIT


def test_which_statuses_are_retried() -> None:
    assert {408, 409, 429, 500, 502, 503, 504, 599} <= RETRIED
    assert not {400, 401, 403, 404, 413, 422} & RETRIED
