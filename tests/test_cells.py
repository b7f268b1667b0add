"""What a cell says, and whom it can name."""

import pytest

from diffvqa.cells import has_words, read_number, read_sex, said, why_nobody


@pytest.mark.parametrize(
    "text", ["", "  ", "NA", "n/a", "#N/A", "<NA>", "NaN", " nan ", "NULL", "NaT", "None", "#REF!", "######"]
)
def test_words_for_a_missing_value_say_nothing_and_name_nobody(text):
    assert said(text) == ""
    assert why_nobody(text) == "no patient is named"


@pytest.mark.parametrize(
    "text",
    ["none", "Unknown", "ANONYMOUS", "?", "-", "***", "[Redacted]", "removed", "XXXXX", "de-identified", "no name"],
)
def test_words_that_stand_for_anybody_name_nobody(text):
    assert why_nobody(text) == "no patient is named"


@pytest.mark.parametrize("text", ["M\ufffdller", "M?ller", "\ufffd"])
def test_an_identifier_with_a_replaced_letter_names_nobody(text):
    assert "replaced" in why_nobody(text)


@pytest.mark.parametrize("text", ["1.23457E+17", "1,23457e+17", "9007199254740993.0", "1e17", "110101199003070000"])
def test_a_number_that_was_rounded_names_nobody(text):
    assert "rounded" in why_nobody(text)


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "Müller",
        "m\u00fcller",
        "4711",
        "4711.0",
        "12E3A",
        "NAN-1",
        "1.2.840.1",
        "000000",
        "XX",
        "Xaver",
        "110101199003071234",
        "1000000000000000",
        "Anonymous-7",
    ],
)
def test_other_identifiers_name_somebody(text):
    assert why_nobody(text) is None
    assert said(text) == text


def test_sexes():
    assert [read_sex(text) for text in ("M", " f", "male", "Female", "O", "", "x")] == ["M", "F", "M", "F", "", "", ""]
    assert [read_sex(text) for text in ("W", "weiblich", "Männlich", "mujer", "1", "unknown")] == [*"FFMF", "", ""]


def test_an_answer_has_a_letter_or_a_digit():
    assert [has_words(text) for text in ("yes", "0", "\ufffd", "ä", "-", "?", " . ", "")] == [True] * 4 + [False] * 4


@pytest.mark.parametrize(
    ("cell", "number"),
    [("2", 2), (" 2.5 ", 2.5), ("2,5", 2.5), ("-0,125", -0.125), (",5", 0.5), ("12,3456", 12.3456), (3, 3)],
)
def test_numbers_have_a_point_or_a_comma_before_their_decimals(cell, number):
    assert read_number(cell) == number


@pytest.mark.parametrize("cell", ["1,234", "-12,345", "1,234,567", "1.234,5", "2,", "wide", ""])
def test_what_may_be_two_numbers_or_none_is_no_number(cell):
    with pytest.raises(ValueError, match="could not convert"):
        read_number(cell)
