"""The grader `label`: what counts as giving a label, and what does not."""

from pathlib import Path

import pytest

from nlft.errors import ConfigError, DataError
from nlft.grade import get_grader, grade
from nlft.grade.label import Labels, label, label_alone, split_labels
from nlft.records import Attempt

LABELS = Labels.of(["refund", "complaint", "billing question", "not urgent"])


@pytest.mark.parametrize(
    ("response", "given"),
    [
        ("complaint", "complaint"),
        ("**Complaint.**", "complaint"),
        ('"COMPLAINT"', "complaint"),
        ("The customer writes in anger, so this is a complaint.", "complaint"),
        ("a billing-question!", "billing question"),
        ("It is not a refund but a complaint.", "complaint"),
        ("This isn’t a refund; complaint", "complaint"),
        ("A complaint rather than a refund.", "complaint"),
        ("I don't think this is a refund, it reads like a complaint", "complaint"),
        ("no doubt a refund", "refund"),
        ("refund\n\nThe complaint is only mentioned.", "refund"),
        ("Among refund, complaint and billing question, it is a complaint.", "complaint"),
        ("It mentions a refund. Label: complaint", "complaint"),
        ("refund or complaint? #### refund", "refund"),
        ("not urgent", "not urgent"),
        ("Refund", "refund"),
        # None of these singles one out.
        ("refund or complaint", None),
        ("It is refund or complaint.", None),
        ("It is neither a refund nor a complaint.", None),
        ("not a complaint", None),
        ("refunded", None),
        ("", None),
    ],
)
def test_the_label_a_response_gives(response: str, given: str | None) -> None:
    verdict = label(response, "complaint", LABELS)
    assert (verdict.value, verdict.correct) == (given, given == "complaint")
    assert verdict.reason


def test_alone_means_nothing_but_the_label() -> None:
    assert [label_alone(r, "refund", LABELS).correct for r in ("Refund.", "It is a refund.", "complaint")] == [
        True,
        False,
        False,
    ]
    assert label_alone("It is a refund.", "refund", LABELS).value is None


def test_several_labels_are_compared_as_sets_with_partial_credit() -> None:
    labels = Labels.of(["billing; refund", "complaint"])
    assert label("refund, billing", "billing; refund", labels).correct
    half = label("Both? Only billing.", "billing; refund", labels)
    assert (half.correct, half.score) == (False, 0.5)
    assert label("billing, refund, complaint", "billing; refund", labels).score == pytest.approx(2 / 3)
    assert split_labels("a | b\nc") == ["a", "b", "c"]


def test_the_labels_are_read_from_all_rows_and_the_threshold_decides() -> None:
    def rows(*responses: str) -> list[Attempt]:
        given = zip(responses, ("a; b", "c"), strict=True)
        return [Attempt(id=str(i), question="q", reference=ref, response=r) for i, (r, ref) in enumerate(given)]

    first, second = grade(rows("a", "a or c"), "label")
    assert (first.verdict.score, first.verdict.correct) == (0.5, False)
    assert list(first.grades) == ["label"]
    assert second.verdict.value == "a; c"
    lenient, _ = grade(rows("a", "c"), "label", threshold=0.5)
    assert lenient.verdict.correct
    assert "0.5 is enough" in lenient.verdict.reason


def test_labels_and_synonyms_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text("labels: {refund: [money back], other: []}")
    grader = get_grader(f"label:{file}")
    record = Attempt(id="a", question="q", reference="refund", response="They want their money back.")
    assert grader(record).value == "refund"
    file = tmp_path / "none.yaml"
    file.write_text("names: [a]")
    with pytest.raises(ConfigError, match="holds no labels"):
        get_grader(f"label:{file}")


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(DataError, match="case and punctuation"):
        Labels.of(["c++", "C"])
    with pytest.raises(DataError, match="none of the labels: refund"):
        label("refund", "elsewhere", Labels.of(["refund"]))
    assert label("-1", "1", Labels.of(["-1", "0", "1"])).value == "-1"
