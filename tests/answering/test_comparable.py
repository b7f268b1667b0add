"""Whether headers allow a comparison."""

import pytest

from diffvqa.answering.comparable import check_identity, check_order, check_orientation, check_views, why_not
from diffvqa.errors import InputError
from diffvqa.images.header import Header
from diffvqa.images.moments import moment_of
from diffvqa.images.orientation import UPRIGHT, Orientation

DAY, NEXT = "20240102", "20240103"


def taken(*texts):
    names = ("current", "prior", "prior 2")
    return {name: Header(taken=moment_of(text)) for name, text in zip(names, texts, strict=False)}


@pytest.mark.parametrize(
    ("current", "prior"),
    [
        (NEXT, DAY),
        (f"{DAY} 0900", f"{DAY} 0800"),
        (f"{NEXT} 0800", f"{DAY} 0900"),
        (f"{DAY} 0900", f"{DAY} 08"),
        (f"{DAY} 100000.0000019", f"{DAY} 100000.0000009"),
        (f"{DAY} 0900-0500", f"{DAY} 1000+0100"),
    ],
)
def test_an_earlier_prior_needs_no_warning_and_a_later_one_is_an_error(current, prior):
    assert check_order(taken(current, prior), trusted=False) == []
    with pytest.raises(InputError, match=r"prior was taken later than current.*trust_order"):
        check_order(taken(prior, current), trusted=False)
    assert "contradict" in check_order(taken(prior, current), trusted=True)[0]


@pytest.mark.parametrize(
    "moments",
    [
        (f"{DAY} 0900", f"{DAY} 0900"),
        (DAY, f"{DAY} 0900"),
        (f"{DAY} 0800", DAY),
        (f"{DAY} 09", f"{DAY} 0930"),
        (f"{DAY} 0900-0500", f"{DAY} 1500+0100"),
    ],
)
def test_equal_times_as_far_as_they_are_known_get_a_warning(moments):
    assert "the same time" in check_order(taken(*moments), trusted=False)[0]


def test_every_prior_is_earlier_than_the_one_before_it():
    with pytest.raises(InputError, match=r"^prior 2 was taken later than prior,"):
        check_order(taken(f"{NEXT} 0900", f"{DAY} 0800", f"{DAY} 0900"), trusted=False)


def test_zones_count_only_where_both_are_known():
    with pytest.raises(InputError, match="prior was taken later"):
        check_order(taken(f"{DAY} 0900+0100", f"{DAY} 1000"), trusted=False)


def test_pictures_of_one_study_are_in_the_order_of_their_acquisition():
    study = moment_of(f"{DAY} 0900")
    early, late = (Header(taken=study, acquired=moment_of(f"{DAY} {hour}")) for hour in ("0901", "0902"))
    assert check_order({"current": late, "prior": early}, trusted=False) == []
    with pytest.raises(InputError, match="prior was taken later"):
        check_order({"current": early, "prior": late}, trusted=False)
    assert "the same time" in check_order({"current": early, "prior": Header(taken=study)}, trusted=False)[0]


def test_the_study_counts_before_the_acquisition():
    first, second = (Header(taken=moment_of(day), acquired=moment_of(DAY)) for day in (DAY, NEXT))
    assert check_order({"current": second, "prior": first}, trusted=False) == []


@pytest.mark.parametrize("without", [None, Header()])
def test_what_cannot_be_checked_is_said(without):
    headers = {"current": Header(("1", ""), moment_of(DAY)), "prior": without}
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
    assert check_orientation({"current": UPRIGHT}) == []
    assert check_orientation({"current": Orientation(mirrored_x=True)})[0].startswith("current")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (Header(view="DECUBITUS"), "lying on one side"),
        (Header(view="OBLIQUE"), "oblique"),
        (Header(for_processing=True), "for processing"),
        (Header(derived=True), "derived"),
    ],
)
def test_what_is_unlike_most_radiographs_gets_a_warning(header, said):
    (warning,) = check_views({"current": Header(), "prior": header})
    assert warning.startswith("prior: ")
    assert said in warning
    assert why_not({"prior": header}) == []


def test_reasons_name_the_image():
    assert why_not({"current": None, "prior": Header(view="AP")}) == []
    reasons = why_not({"current": Header(radiograph=False, chest=False), "prior": Header(view="LATERAL")})
    assert [reason.split(":")[0] for reason in reasons] == ["current", "current", "prior"]
