"""The grader `json`: which differences count, and what is said of each field."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlft.errors import ConfigError, DataError
from nlft.grade import get_grader, grade_response
from nlft.grade.fields import compare_fields, json_alone, json_fields

REFERENCE = '{"total": 125, "date": "1 May", "paid": true}'


@pytest.mark.parametrize(
    ("response", "correct"),
    [
        (REFERENCE, True),
        ('{"paid": true, "date": "1 May", "total": 125.0}', True),
        (f"Here it is:\n```json\n{REFERENCE}\n```\nAnything else?", True),
        (f"The fields [1] are {REFERENCE}.", True),
        ('{"total": "125", "date": "1 May", "paid": true}', False),
        ('{"total": 125, "date": "1 May", "paid": 1}', False),
        ('{"total": 125, "date": "1 May"}', False),
        ('{"total": 125, "date": "1 May", "paid": true, "name": null}', False),
        ('{"total": 125, "date": "1 may", "paid": true}', False),
        ("{'total': 125}", False),
        ('{"total": NaN, "date": "1 May", "paid": true}', False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_only_fields_and_values_count(response: str, correct: bool) -> None:
    verdict = grade_response(response, REFERENCE, "json")
    assert verdict.correct is correct
    assert verdict.score == 1 if correct else (verdict.score or 0) < 1


def test_every_field_has_its_verdict() -> None:
    verdict = json_fields('{"total": 12.5, "extra": [1]}', '{"total": 125, "date": "1 May", "items": [1, 2]}')
    assert (verdict.model_extra or {})["fields"] == {
        "total": "is 12.5, should be 125",
        "date": "is missing",
        "items": "is missing",
        "extra": "does not belong there",
    }
    assert verdict.score == 0
    assert json_fields('{"a": 1, "b": [1, 3]}', '{"a": 1, "b": [1, 2]}').score == pytest.approx(2 / 3)


def test_alone_means_no_fence_and_no_text() -> None:
    assert json_alone(REFERENCE, REFERENCE).correct
    fenced = json_alone(f"```json\n{REFERENCE}\n```", REFERENCE)
    assert (fenced.correct, fenced.value) == (False, None)


def test_a_reference_that_is_no_json_is_an_error() -> None:
    with pytest.raises(DataError, match="not JSON"):
        grade_response("{}", "{125", "json")


def test_a_schema_is_checked_where_the_fields_are_right(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"properties": {"total": {"type": "number", "maximum": 100}}}')
    verdict = grade_response(REFERENCE, REFERENCE, f"json:{file}")
    assert (verdict.correct, "maximum of 100" in verdict.reason) == (False, True)
    file = tmp_path / "broken.json"
    file.write_text('{"type": 3}')
    with pytest.raises(ConfigError, match="no JSON Schema"):
        get_grader(f"json:{file}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_any_object_equals_itself_in_another_order(value: dict[str, object]) -> None:
    text = json.dumps(dict(reversed(value.items())))
    assert json_fields(f"So: {text} #", json.dumps(value)).correct
    assert set(compare_fields(value, value).values()) <= {"right"}
