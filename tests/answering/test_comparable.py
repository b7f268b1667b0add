"""Whether headers allow a comparison."""

from datetime import date, time

import pytest

from diffvqa.answering.comparable import check_identity, check_order, check_orientation, check_views, why_not
from diffvqa.errors import InputError
from diffvqa.images.header import Header
from diffvqa.images.orientation import Orientation

DAY, NEXT = date(2024, 1, 2), date(2024, 1, 3)
EIGHT, NINE = time(8), time(9)


def taken(*moments):
    names = ("current", "prior", "prior 2")
    return {name: Header(taken=moment) for name, moment in zip(names, moments, strict=False)}


@pytest.mark.parametrize(
    ("current", "prior"), [((NEXT, None), (DAY, None)), ((DAY, NINE), (DAY, EIGHT)), ((NEXT, EIGHT), (DAY, NINE))]
)
def test_an_earlier_prior_needs_no_warning_and_a_later_one_is_an_error(current, prior):
    assert check_order(taken(current, prior), trusted=False) == []
    with pytest.raises(InputError, match=r"prior was taken later than current.*trust_order"):
        check_order(taken(prior, current), trusted=False)
    assert "contrary" in check_order(taken(prior, current), trusted=True)[0]


@pytest.mark.parametrize(
    "moments", [((DAY, NINE), (DAY, NINE)), ((DAY, None), (DAY, NINE)), ((DAY, EIGHT), (DAY, None))]
)
def test_equal_times_as_far_as_they_are_known_get_a_warning(moments):
    assert "the same time" in check_order(taken(*moments), trusted=False)[0]


def test_every_prior_is_earlier_than_the_one_before_it():
    with pytest.raises(InputError, match=r"^prior 2 was taken later than prior,"):
        check_order(taken((NEXT, NINE), (DAY, EIGHT), (DAY, NINE)), trusted=False)


@pytest.mark.parametrize("without", [None, Header()])
def test_what_cannot_be_checked_is_said(without):
    headers = {"current": Header(("1", ""), (DAY, None)), "prior": without}
    assert len(check_order(headers, False)) == len(check_identity(headers, False)) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("1", ""), ("1", ""), True),
        (("1", "A"), ("1", ""), True),
        (("1", "A"), ("1", "B"), False),
        (("1", ""), ("2", ""), False),
        (("a1", ""), ("A1", ""), False),
    ],
)
def test_a_patient_is_an_identifier_and_its_issuer(one, other, same):
    headers = {"current": Header(one), "prior": Header(other)}
    if same:
        assert check_identity(headers, trusted=False) == []
    else:
        with pytest.raises(InputError, match=r"prior and current show different patients.*trust_identity"):
            check_identity(headers, trusted=False)
        assert len(check_identity(headers, trusted=True)) == 1


def test_warnings_about_views_and_on_turned_pictures():
    assert check_views({"current": Header(view="PA"), "prior": Header(view="PA")}) == []
    assert check_views({"current": Header(view="PA"), "prior": Header(view="")}) == []
    assert len(check_views({"current": Header(view="PA"), "prior": Header(view="AP")})) == 1
    assert check_orientation({"current": Header(), "prior": None}) == []
    assert check_orientation({"current": Header(orientation=Orientation(mirrored_x=True))})[0].startswith("current")


def test_reasons_name_the_image():
    assert why_not({"current": None, "prior": Header(view="AP")}) == []
    reasons = why_not({"current": Header(radiograph=False, chest=False), "prior": Header(view="LATERAL")})
    assert [reason.split(":")[0] for reason in reasons] == ["current", "current", "prior"]
