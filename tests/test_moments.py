"""Dates, times and zones, as headers, tables and reports write them."""

from datetime import datetime, timedelta

import pytest

from diffvqa.images.moments import moment_of

NEW_YEAR = datetime(2024, 1, 1)
DAY, HOUR, MINUTE, SECOND = (timedelta(**{unit: 1}) for unit in ("days", "hours", "minutes", "seconds"))


@pytest.mark.parametrize(
    ("text", "first", "lasting"),
    [
        ("20240101", NEW_YEAR, DAY),
        (" 2024-01-01 ", NEW_YEAR, DAY),
        ("2024.01.01", NEW_YEAR, DAY),
        ("20240101 09", NEW_YEAR + 9 * HOUR, HOUR),
        ("2024010109", NEW_YEAR + 9 * HOUR, HOUR),
        ("2024-01-01T09:30", NEW_YEAR + 9 * HOUR + 30 * MINUTE, MINUTE),
        ("20240101093015", NEW_YEAR + 9 * HOUR + 30 * MINUTE + 15 * SECOND, SECOND),
        ("20240101 093060", NEW_YEAR + 9 * HOUR + 30 * MINUTE + 59 * SECOND, SECOND),
        ("2024-01-01 09:30:15.5", NEW_YEAR + 9 * HOUR + 30 * MINUTE + 15.5 * SECOND, timedelta(microseconds=1)),
        ("20240101 000000.123456789", NEW_YEAR + timedelta(microseconds=123456), timedelta(microseconds=1)),
        ("2024-01-01T00:00:00", NEW_YEAR, SECOND),
    ],
)
def test_a_moment_is_known_as_far_as_it_is_written(text, first, lasting):
    found = moment_of(text)
    assert (found.first, found.last - found.first, found.zone) == (first, lasting, None)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2024-01-01T09:30Z", timedelta()),
        ("20240101093000+0130", 1.5 * HOUR),
        ("2024-01-01T09:30:00.123456789-05:00", -5 * HOUR),
    ],
)
def test_zones(text, zone):
    assert moment_of(text).zone == moment_of(text, zone="+1400").zone == zone


def test_a_zone_that_is_written_apart():
    assert moment_of("20240101", "0930", "-0500").zone == -5 * HOUR
    assert moment_of("20240101", zone="nowhere").zone is None
    assert moment_of("20240101", zone="+9900") == moment_of("20240101")


@pytest.mark.parametrize("time", ["25", "0960", "noon", "09:3", "-"])
def test_a_time_that_cannot_be_read_is_missing_and_not_midnight(time):
    assert moment_of("20240101", time) == moment_of("20240101", "") == moment_of("20240101")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024",
        "20240230",
        "20241301",
        "0930",
        "2024-0101",
        "00000101",
        "today",
        "20240101 25",
        "99991231",
        "20240101 093061",
        "2024-01-01T09:30+25:00",
        "2024-01-01T09:30+01:75",
    ],
)
def test_what_is_no_date_is_none(text):
    assert moment_of(text) is None


def test_nothing_of_a_moment_is_shown():
    assert "2024" not in repr(moment_of("20240101"))
