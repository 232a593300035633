"""Stubs are cut from the reference: they keep what a student needs and give nothing away."""

import ast

import pytest

from autograder import stubs
from autograder.errors import UserError

NAMES = [
    "lstm_step_forward",
    "lstm_peephole_step_backward",
    "lstm_backward",
    "gru_step_forward",
    "load_torch_weights",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_has_signature_and_docstring_and_only_the_friendly_error(name):
    (function,) = ast.parse(stubs.stub(name)).body
    assert function.name == name
    _, error = function.body
    assert ast.get_docstring(function)
    assert isinstance(error, ast.Raise)
    assert "not implemented yet" in ast.unparse(error)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_needs_no_jaxtyping(name):
    assert not any(word in stubs.stub(name) for word in ("Float", "Array", "Literal", "Tensor"))


def test_a_helper_with_any_number_of_arguments_needs_no_jaxtyping_either():
    assert "def _check_corners(*arrays):" in stubs.solved("iou")


def test_annotations_become_shapes_in_the_docstring():
    text = stubs.stub("lstm_step_forward")
    assert "W_x  (d_in, 4*d_h)" in text
    assert "b    (4*d_h,)" in text
    assert "returns (batch, d_h), (batch, d_h), cache" in text


def test_an_axis_as_long_as_an_argument_says_has_its_name():
    assert "returns (c_in, height, width)" in stubs.stub("col2im")


def test_numbers_that_come_back_are_not_called_a_cache():
    assert "returns a number, a number, any shape" in stubs.stub("combine")
    assert "returns an integer\n" in stubs.stub("gram_is_blind_to")
    assert "returns a number\n" in stubs.stub("average_precision")


def test_a_choice_of_words_becomes_its_options_and_keeps_its_default():
    text = stubs.stub("gru_step_forward")
    assert '"after" or "before"' in text
    assert "reset='after'" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_is_the_stub_with_its_body_between_the_marks(name):
    solved = stubs.solved(name)
    head, _, rest = solved.partition("    ### BEGIN SOLUTION\n")
    body, _, tail = rest.partition("    ### END SOLUTION")
    assert stubs.stub(name).startswith(head)
    assert tail == ""
    assert body.strip()
    ast.parse(solved)


def test_a_solution_brings_its_private_helpers_inside_the_marks():
    head = stubs.solved("lstm_backward").partition("### BEGIN SOLUTION")[0]
    assert "_unroll_backward" not in head
    assert "def _unroll_backward(" in stubs.solved("lstm_backward")


def test_an_unknown_name_is_refused_in_one_line():
    with pytest.raises(UserError, match="no function 'lstm_leap'"):
        stubs.stub("lstm_leap")
