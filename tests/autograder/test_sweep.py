"""The sweep over many draws reports what only some students would get."""

from tests import sweep
from tests.sweep import RIGHT, Outcome, Swept


def findings(outcomes: dict[str, dict[Outcome, int]]) -> list[str]:
    return list(Swept("lstm", "lstm_step_forward", 5.0, 10, outcomes).findings())


def test_a_mistake_that_always_pays_the_same_under_its_own_name_is_no_finding():
    assert findings({RIGHT: {Outcome(5.0, ()): 0}, "sign": {Outcome(2.0, ("sign",)): 0}}) == []


def test_a_right_answer_that_loses_points_is_reported_with_its_seed():
    found = findings({RIGHT: {Outcome(5.0, ()): 0, Outcome(4.0, ()): 7}})
    assert found[0] == "the right answer gets 4 of 5 (seed 7)"


def test_a_mistake_that_passes_is_reported_and_so_is_that_it_pays_differently():
    found = findings({"sign": {Outcome(2.0, ("sign",)): 0, Outcome(5.0, ()): 3}})
    assert found == ["sign: passes (seed 3)", "sign: marks differ: 2 (seed 0), 5 (seed 3)"]


def test_a_mistake_under_another_name_is_reported():
    assert findings({"sign": {Outcome(2.0, ("scale",)): 1}}) == ["sign: told scale (seed 1)"]
    assert findings({"sign": {Outcome(2.0, ()): 1}}) == ["sign: told no mistake (seed 1)"]


def test_a_question_of_the_book_is_swept_with_every_mistake_and_the_right_answer():
    swept = sweep.sweep("losses", "explain_plateau", 0.0)
    assert (swept.draws, list(swept.findings())) == (sweep.FEWEST, [])
    assert list(swept.outcomes) == [RIGHT, *sweep.question.of_block("losses")["explain_plateau"].mistakes]
