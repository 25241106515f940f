"""Words of the rule judge; the rows are real answers of a 1.5B model to GSM8K problems, and made-up edges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlft.grade import grade_one
from nlft.judge import rule_judgment
from nlft.records import Attempt, Graded, Verdict


def judged(question: str, reference: str, response: str, **extra: Any) -> str:
    attempt = Attempt(id="x", question=question, reference=reference, response=response, **extra)
    return rule_judgment(grade_one(attempt))


ZOO = (
    "John has 15 snakes. He has twice as many monkeys, 5 fewer lions than monkeys, 8 more pandas than lions and a "
    "third as many dogs as pandas. How many animals?",
    "John has 15*2 = <<15*2=30>>30 monkeys.\nJohn has 30-5 = <<30-5=25>>25 lions.\nJohn has 25+8 = <<25+8=33>>33 "
    "pandas.\nJohn has 33/3 = <<33/3=11>>11 dogs.\nIn all 15+30+25+33+11 = <<15+30+25+33+11=114>>114.\n#### 114",
)
RENT = (
    "A building has 100 units, is 3/4 occupied for a year, and each unit pays a rent of $400 a month. How much a year?",
    "3/4 * 100 = <<3/4*100=75>>75 units.\n75 * $400 = $<<75*400=30000>>30000 a month.\n"
    "In a year $30000 * 12 = $<<30000*12=360000>>360000.\n#### 360000",
)
RELAY = (
    "Mary took twice as long as Susan. Susan took 10 seconds longer than Jen. Jen took 30 seconds. Tiffany took 7 "
    "seconds less than Mary. How long did they take together?",
    "Susan's time was 30 + 10 = <<30+10=40>>40 seconds.\nMary's was 40 * 2 = <<40*2=80>>80 seconds.\nTiffany's was "
    "80 - 7 = <<80-7=73>>73 seconds.\nIn all 80 + 40 + 30 + 73 = <<80+40+30+73=223>>223.\n#### 223",
)


def test_the_first_wrong_calculation_is_quoted_with_the_right_value() -> None:
    words = judged(*ZOO, "He has 2 x 15 = 30 monkeys.\nHe has 30 - 5 = 25 lions.\nIn all 15 + 30 + 25 + 33 + 11 = 136.")
    assert words == (
        'The calculation goes wrong at "In all 15 + 30 + 25 + 33 + 11 = 136": 15 + 30 + 25 + 33 + 11 is 114, not 136. '
        "The final answer 136 is wrong; the right one is 114."
    )


def test_of_several_wrong_calculations_the_first_is_named() -> None:
    words = judged(*ZOO, "2 x 15 = 31.\n31 - 5 = 27.\n#### 27")
    assert '"2 x 15 = 31"' in words
    assert '27":' not in words


def test_the_first_departure_is_quoted_with_the_step_to_take() -> None:
    words = judged(*RELAY, "Mary took 2 * 30 = 60 seconds.\nSusan took 30 + 10 = 40 seconds.\n#### 100")
    assert words.startswith('It departs from the standard solution at "Mary took 2 * 30 = 60 seconds": the 60')
    assert 'the step to take is "Susan\'s time was 30 + 10 = 40 seconds"' in words
    assert words.endswith("The final answer 100 is wrong; the right one is 223.")


def test_a_departure_before_a_wrong_calculation_is_named_as_well() -> None:
    words = judged(*RELAY, "Mary took 2 * 30 = 60 seconds.\nIn all 60 + 40 = 110.\n#### 110")
    assert words.index("departs") < words.index("goes wrong")


def test_a_number_out_of_nowhere_is_a_departure() -> None:
    words = judged(*RELAY, "They took 171 seconds together.")
    assert '"They took 171 seconds together": the 171 does not belong there' in words


def test_a_title_ends_no_sentence() -> None:
    assert '"Mr. and Mrs. Smith took 171 seconds"' in judged(*RELAY, "Well. Mr. and Mrs. Smith took 171 seconds. So.")


def test_a_response_that_stops_early_is_told_the_step_that_is_missing() -> None:
    words = judged(*RENT, "3/4 x 100 = 75 units.\n75 x $400 = $30,000.\n#### 30000")
    assert words == (
        'The response leaves out the step "In a year $30000 * 12 = $360000". '
        "The final answer 30000 is wrong; the right one is 360000."
    )


def test_no_step_at_all() -> None:
    assert "gives no steps" in judged(*RENT, "#### 30000")


def test_a_response_without_an_answer() -> None:
    assert judged(*RENT, "I do not know.").endswith("ends without a final answer; the right one is 360000.")
    cut = judged(*RENT, "First find the number of units", finish_reason="length")
    assert cut.endswith("breaks off at the length limit without a final answer; the right one is 360000.")


def test_a_right_number_in_the_wrong_form() -> None:
    attempt = Attempt(id="x", question=RENT[0], reference=RENT[1], response="3/4 x 100 = 75. It is 360000.")
    words = rule_judgment(grade_one(attempt, grader="gsm8k-strict"))
    assert (
        "Its final number 360000 is right, but it is not given in the form asked for: no #### in the response." in words
    )


def test_a_task_without_numbers() -> None:
    attempt = Attempt(id="x", question="Which is the capital?", reference="It is on the Seine.\nParis", response="Rome")
    verdict = Verdict(correct=False, value="rome", extracted="Rome", reason="not Paris")
    words = rule_judgment(Graded(**attempt.model_dump(), verdict=verdict))
    assert words == "The final answer Rome is wrong; the right one is Paris."


def test_of_a_choice_the_letter_is_named() -> None:
    attempt = Attempt(id="x", question="Which?", reference="C", response="I think the answer is (B).")
    words = rule_judgment(grade_one(attempt, grader="choice"))
    assert words == "The final answer B is wrong; the right one is C."


def test_a_step_on_the_line_of_the_final_answer_is_read() -> None:
    words = judged(*RENT, "3/4 x 100 = 75 units, 75 x 400 = 30000, 30000 x 12 = 36000 #### 36000")
    assert words.startswith(
        'The calculation goes wrong at "3/4 x 100 = 75 units, 75 x 400 = 30000, 30000 x 12 = 36000"'
    )
    assert judged(RENT[0], RENT[1].replace("\n#", " #"), "3/4 x 100 = 75.\n#### 30000").startswith(
        'The response leaves out the step "75 * $400 = $30000 a month".'
    )


@pytest.mark.parametrize("reference", ["#### 360000", "360000", "The rent is 360000.", "$360,000 a year\n#### 360000"])
def test_beside_a_final_number_alone_no_step_is_a_departure(reference: str) -> None:
    words = judged(RENT[0], reference, "3/4 x 100 = 75 units.\n75 x $400 = $30,000.\n#### 30000")
    assert "depart" not in words
    assert "reach the right" not in words
    assert words.endswith("The final answer 30000 is wrong; the right one is 360000.")
    assert "3/4 x 100 is 75, not 70" in judged(RENT[0], reference, "3/4 x 100 = 70 units.\n#### 70")


@pytest.mark.parametrize("reference", ["#### 114", "114", "The answer is 114.", "In all 114.\n#### 114"])
@pytest.mark.parametrize("response", ["In all 114, and then #### 136", "57 * 2 = 114\n#### 136", "#### 136"])
def test_without_a_worked_reference_nothing_is_said_of_the_steps(reference: str, response: str) -> None:
    words = judged("How many are 57 and 57?", reference, response)
    assert words == "The final answer 136 is wrong; the right one is 114."


def test_a_step_that_is_only_an_annotation_is_quoted_by_what_it_says() -> None:
    words = judged("How many are 57 and 57?", "<<57*2=114>>\n#### 114", "#### 136")
    assert words.startswith('The response gives no steps; it leaves out the step "57*2=114".')


def test_percentages_are_compared_as_percentages() -> None:
    words = judged(
        "A 40% and B 20%, minus 45%?", "40 + 20 = 60%\n60 - 45 = 15%\n#### 15", "It is 40% + 20% - 45% = 55%."
    )
    assert "40% + 20% - 45% is 15%, not 55%" in words


def test_a_step_that_is_only_rounded_is_no_wrong_calculation() -> None:
    words = judged("7 for 2, rounded up?", "7 / 2 = 3.5\nso 4\n#### 4", "7 / 2 = 3.\n#### 3")
    assert "goes wrong" not in words


def test_braces_and_markup_in_a_response_are_text() -> None:
    words = judged(*ZOO, "He has {question} [bold]2 x 15[/bold] %s = 31 monkeys.\n#### 31")
    assert "{question} [bold]2 x 15[/bold] %s" in words or "31" in words


def test_long_steps_are_cut_to_the_calculation() -> None:
    words = judged(*ZOO, "so " * 400 + "2 x 15 = 31\n#### 31")
    assert '"2 x 15 = 31"' in words
    assert len(words) < 500


@pytest.mark.parametrize("response", ["", " ", "####", "#### x", "=", "1/0 = 3", "\\frac{1}{0} = 2", "\u0661 + 1 = 5"])
def test_odd_responses_still_get_words(response: str) -> None:
    assert "the right one is 114" in judged(*ZOO, response)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_response_gets_words_that_name_the_right_answer(response: str) -> None:
    words = judged(*ZOO, response)
    assert "114" in words


def test_the_same_row_gets_the_same_words() -> None:
    row = grade_one(Attempt(id="x", question=ZOO[0], reference=ZOO[1], response="2 x 15 = 31"))
    assert rule_judgment(row) == rule_judgment(row)
