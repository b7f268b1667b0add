import pytest

from diffvqa.parsing import parse_json, parse_yaml


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": [1}', "{" * 100_000])
def test_what_cannot_be_read_is_a_value_error_however_deep(parse, text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_yaml_makes_no_objects_of_python():
    with pytest.raises(ValueError, match="constructor"):
        parse_yaml("!!python/object/apply:os.getcwd []")


def test_values():
    assert parse_json(b'{"a": [1, null]}') == parse_yaml("a: [1, null]") == {"a": [1, None]}
