"""Where a judgment's quotation stands in the response, and which tokens that makes."""

import pytest

from nlft.judge.rule import rule_judgment
from nlft.records import Judged, Verdict
from nlft.steps.first_error import locate_first_error
from nlft.steps.step_weights import signed_weights, with_step_weights

REFERENCE = "47 + 86 = 133\n133 - 25 = 108\n#### 108"


def judged(response, judgment=None, reference=REFERENCE, correct=False, **more):
    row = Judged(
        id="a", question="47 + 86 - 25 =", reference=reference, response=response,
        verdict=Verdict(correct=correct, reason="test"), judgment=judgment, **more,
    )  # fmt: skip
    return row if judgment is not None or correct else row.model_copy(update={"judgment": rule_judgment(row)})


def wrong(row):
    located = locate_first_error(row)
    return None if located.wrong is None else row.response[slice(*located.wrong)]


def test_the_rule_judges_miscalculation_is_found():
    row = judged("47 + 86 = 143\n143 - 25 = 118\n#### 118")
    located = locate_first_error(row)
    assert wrong(row) == "47 + 86 = 143"
    assert located.agreed == 0
    assert row.response[slice(*located.closing)] == "\n####"


def test_a_later_step_leaves_what_stands_before_it_agreed():
    row = judged("47 + 86 = 133\n133 - 25 = 98\n#### 98")
    located = locate_first_error(row)
    assert wrong(row) == "133 - 25 = 98"
    assert row.response[: located.agreed] == "47 + 86 = 133\n"


def test_the_step_that_should_have_been_taken_is_not_the_responses_error():
    row = judged("47 + 25 = 72\n#### 72")
    assert "the step to take is" in row.judgment
    assert wrong(row) == "47 + 25 = 72"
    only_standard = judged("47 + 86 = 133\n#### 133", 'The response leaves out the step "133 - 25 = 108".')
    located = locate_first_error(only_standard)
    assert located.wrong is None
    assert only_standard.response[: located.agreed] == "47 + 86 = 133"


def test_white_space_and_annotations_do_not_count():
    row = judged("He has 47 +  86\n= <<47+86=143>>143 pens.\n#### 143", 'It goes wrong at "He has 47 + 86 = 143 pens".')
    assert wrong(row) == "He has 47 +  86\n= <<47+86=143>>143 pens"


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("47 + 86 = 143\n143 - 25 = 118\n#### 118", "143"),
        ("First, 47 + 86 = 143 pens\n#### 143", "143"),
        ("It costs $47 + $86 = $143.\n#### 143", "143"),
        ("47 + 25 = 72\n#### 72", "47 + 25 = 72"),  # a departure: the equation is true, the step is wrong
    ],
)
def test_narrowed_to_the_value_of_a_false_equation(response, value):
    row = judged(response)
    located = locate_first_error(row, narrow=True)
    assert row.response[slice(*located.wrong)] == value
    assert located.agreed == located.wrong[0]


def test_nothing_quoted_and_nothing_agreed():
    row = judged("5 apples\n#### 5", "It is wrong.", reference="#### 108")
    assert locate_first_error(row) == (0, None, (8, 13))
    assert locate_first_error(judged("no idea", "It is wrong.")) == (0, None, None)


def test_a_quotation_that_is_not_there_is_passed_over():
    assert (
        wrong(judged("47 + 86 = 143\n#### 143", 'Not "48 + 1 = 2", but "47 + 86 = 143" is wrong.')) == "47 + 86 = 143"
    )


def test_weights_by_span():
    located = locate_first_error(judged("1 + 1 = 2\n2 + 1 = 4\n#### 4", 'Wrong at "2 + 1 = 4".'))
    spans = [(0, 9), (9, 11), (11, 19), (19, 20), (20, 24), (24, 26)]
    # the second touches agreed part and step; the last holds the answer
    assert signed_weights(located, spans) == [1.0, -1.0, -1.0, 1.0, 1.0, 0.0]
    assert signed_weights(located, spans, after=0.5) == [1.0, -1.0, -1.0, 1.0, 1.0, 0.5]
    nowhere = locate_first_error(judged("1 + 1 = 2\n#### 4", "Wrong."))
    assert signed_weights(nowhere, [(0, 9), (9, 14), (14, 16)], after=0.5) == [0.0, 1.0, 0.0]


def test_rows_get_a_weight_a_token_and_the_end_of_turn_unless_cut_off(world_tokenizer):
    right, bad = judged(REFERENCE, correct=True), judged("47 + 86 = 143\n#### 143")
    cut = judged("47 + 86 = 143", finish_reason="length")
    kept, weighed, short = with_step_weights([right, bad, cut], world_tokenizer)
    assert kept is right
    for row, ended in ((weighed, 1), (short, 0)):
        ids = world_tokenizer(row.response, add_special_tokens=False).input_ids
        assert len(row.token_weights) == len(ids) + ended
    text = "".join(
        sign for sign, weight in zip(weighed.response, weighed.token_weights, strict=False) if weight == -1.0
    )
    assert text == "47 + 86 = 143"
    assert weighed.token_weights[-1] == 1.0


@pytest.fixture
def world_tokenizer():
    """A token a character, with offsets, as a fast tokenizer gives them."""

    class Characters:
        def __call__(self, text, **_):
            return type("Encoding", (dict,), {"input_ids": [*map(ord, text)]})(
                offset_mapping=[(place, place + 1) for place in range(len(text))]
            )

    return Characters()
