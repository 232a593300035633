"""Every formula of the sheets whose chapter is written stands on the formula sheet, with chapter, function and test."""

import ast
import re
from functools import cache
from typing import NamedTuple

import pytest

from autograder.blocks import ROOT

SEEDS = ROOT.parent / "shared" / "seeds"  # the sheets themselves lie outside the repository
PAGE = (ROOT / "book" / "formula_sheet.md").read_text(encoding="utf-8")

# Entries of the page that describe or bound something, and so have no function of their own.
NO_FUNCTION = {
    "formula-losses-reduction": "how a sum is divided, which each loss does",
    "formula-losses-gibbs": "an inequality",
    "formula-lstm-shapes": "a table of letters",
    "formula-lstm-bias": "a start for a parameter",
}
# Headings of the page over other entries, and tables.
NO_FORMULA = {
    "formula-attention-backward",
    "formula-losses-backward",
    "formula-lstm-backward",
    "formula-activations-tradeoffs",
}


class Section(NamedTuple):
    """A part of a sheet, from one line to another, and where each of its formulas stands, by a piece of the formula."""

    sheet: str
    begins: str
    ends: str
    entries: dict[str, str]


SECTIONS = (
    Section(
        "000",
        "LSTM",
        "Activation functions",
        {
            r"\vec{h}_t = \vec{o}_t": "formula-lstm-peephole",
            r"\vec{o}_t = \sigma": "formula-lstm-peephole",
            r"\vec{c}_t = \underbrace": "formula-lstm-peephole",
            r"\vec{f}_t = \sigma": "formula-lstm-peephole",
            r"\vec{i}_t = \sigma": "formula-lstm-peephole",
            r"\vec{g}_t = \tanh": "formula-lstm-peephole",
            r"\vec{x}_t^{(\ell+1)}": "formula-lstm-stack",
        },
    ),
    Section(
        "000",
        "Activation functions",
        "Activation function tradeoffs",
        {
            r"x \Phi(x) =": "formula-activations-gelu",
            r"\operatorname{erf}(z) =": "formula-activations-gelu",
            r"\approx \frac{x}{2}": "formula-activations-gelu",
        },
    ),
    Section("002", "### Softmax", "### Embedding", {"softmax(x)_i =": "formula-activations-softmax"}),
    Section(
        "002",
        "### Gated Recurrent Unit (GRU)",
        "## Nonlinearities",
        {
            r"z_t = \sigma": "formula-gru-step",
            r"r_t = \sigma": "formula-gru-step",
            r"\widetilde{h}_t = \tanh": "formula-gru-step",
            r"h_t = z_t \circ": "formula-gru-step",
            r"i_t = \sigma": "formula-lstm-step",
            r"f_t = \sigma": "formula-lstm-step",
            r"o_t = \sigma": "formula-lstm-step",
            r"\widetilde{c}_t = tanh": "formula-lstm-step",
            r"c_t = f_t \circ": "formula-lstm-step",
            r"h_t = o_t \circ": "formula-lstm-step",
        },
    ),
    Section(
        "002",
        "### Sigmoid",
        "## Higher-order mechanisms",
        {
            r"\sigma(x) = \frac{1}{1 + e^{-x}}": "formula-activations-sigmoid",
            r"tanh(x) = \frac{e^{2x} - 1}{e^{2x} + 1}": "formula-activations-sigmoid",
            r"f(x) = max(0, x)": "formula-activations-relu",
        },
    ),
    Section("002", "### Recurrence", "### Recursion", {}),  # in words: no formula
    Section(
        "004",
        "Loss Functions",
        "Activation Functions",
        {
            r"\mathcal{L}_{MSE}": "formula-losses-mse",
            r"\mathcal{L}_{BCE}": "formula-losses-bce",
            r"\mathcal{L}_{CE}": "formula-losses-ce",
            "B = batch size": "formula-losses-mse",
        },
    ),
    Section(
        "004",
        "Activation Functions",
        "Backprop & Gradient Descent",
        {
            r"\sigma(z) = \frac{1}{1+e^{-z}}": "formula-activations-sigmoid",
            r"\text{softmax}(z_k) =": "formula-activations-softmax",
            "relu(z) = max(0, z)": "formula-activations-relu",
            "tanh(z) =": "formula-activations-sigmoid",
        },
    ),
    Section(
        "004",
        "Simple RNN",
        "LSTM Gates",
        {
            r"s_t = \tanh(U\,x_t + W\,s_{t-1})": "formula-rnn-step",
            r"o_t = \text{softmax}(V\,s_t)": "formula-rnn-output",
        },
    ),
    Section(
        "004",
        "Convolutional Neural Networks",
        "• DepthwiseConv: one filter per input channel (MobileNet)",  # behind it, a formula about another subject
        {
            r"O = \left\lfloor": "formula-cnn-size",
            r"\text{out}[f_o, r, c] =": "formula-cnn-conv2d",
            "W = input size": "formula-cnn-size",
            "Parameter count per Conv layer =": "formula-cnn-params",
        },
    ),
    Section(
        "004",
        "Style Transfer & Object Detection",
        "YOLO IoU (Intersection over Union)",
        {
            r"G^{[l]} = M^{[l]}": "formula-style-gram",
            r"\mathcal{L} = \alpha": "formula-style-losses",
        },
    ),
    Section(
        "004",
        "CNN Output Size",
        "Init Summary",
        {
            "O = ⌊(W−K+2P)/S⌋ + 1": "formula-cnn-size",
            "Same padding: P = (K−1)/2": "formula-cnn-size",
            "Valid padding: P = 0": "formula-cnn-size",
            "Params = K² × C_in × C_out": "formula-cnn-params",
        },
    ),
    Section(
        "004",
        "LSTM Gates",
        "Attention Mechanism (seq2seq)",
        {
            r"f_t = \sigma": "formula-lstm-step",
            r"i_t = \sigma": "formula-lstm-step",
            r"C_t = f_t": "formula-lstm-step",
            r"o_t = \sigma": "formula-lstm-step",
            "f = forget": "formula-lstm-step",
        },
    ),
    Section(
        "004",
        "Attention Mechanism (seq2seq)",
        "Variational Autoencoder (VAE)",
        {
            r"e_{ti} = f_{att}": "formula-attention-additive",
            r"\alpha_{ti} =": "formula-attention-additive",
            r"\hat{z}_t =": "formula-attention-additive",
            r"\text{Attention}(Q,K,V) =": "formula-attention-sdpa",
            "Keys = encoder hidden states": "formula-attention-seq2seq",
        },
    ),
    Section(
        "004", "Attention (image captioning)", "MobileNet Bottleneck", {"a = {a1,…,aL}": "formula-attention-regions"}
    ),
    Section(
        "004",
        "Variational Autoencoder (VAE)",
        "Style Transfer & Object Detection",
        {
            r"\mathcal{L}_{VAE}": "formula-vae-elbo",
            r"D_{KL} = -\frac{1}{2}": "formula-vae-kl",
            "Reparameterization: z =": "formula-vae-reparameterization",
        },
    ),
    # The objective itself has no equals sign; its letters stand below it.
    Section("004", "GAN Objective", "Attention (image captioning)", {"D = discriminator": "formula-gan-game"}),
    Section(
        "004",
        "YOLO IoU (Intersection over Union)",
        "Quick Reference — Architecture & Design Rules",
        {r"\text{IoU} =": "formula-yolo-iou"},
    ),
)
TRADEOFFS = ("ReLU", "Leaky ReLU", "PReLU", "Sigmoid", "tanh", "ELU", "SELU", "GELU", "SiLU", "Mish", "Softplus")


@cache
def entries() -> dict[str, str]:
    """The text of each entry of the page by its label."""
    parts = re.split(r"^\((formula-(?!sheet)[\w-]+)\)=$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def links(label: str) -> str:
    (found,) = re.findall(r"^Links\n: (.*)$", entries()[label], re.MULTILINE)
    return found


@cache
def labels() -> set[str]:
    """Everything in the book that can be linked to: sections, and equations."""
    book = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "book").rglob("*.md"))
    return set(re.findall(r"^\(([\w-]+)\)=$", book, re.MULTILINE)) | set(
        re.findall(r"^\s*\$\$ \(([\w-]+)\)$", book, re.MULTILINE)
    )


@cache
def functions(folder: str) -> set[str]:
    files = (ROOT / folder).rglob("*.py")
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in files)
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


FORMULAS = sorted(set(entries()) - NO_FORMULA)


@pytest.mark.parametrize("label", FORMULAS)
def test_a_formula_is_linked_to_its_derivation(label):
    anchors, equations = re.findall(r"\]\(#([\w-]+)\)", links(label)), re.findall(r"\{eq\}`([\w-]+)`", links(label))
    assert anchors, "a formula names its derivation"
    assert {*anchors, *equations} - labels() == set()
    assert equations or label in NO_FUNCTION


@pytest.mark.parametrize("label", FORMULAS)
def test_a_formula_names_functions_and_a_test_that_exist(label):
    tests = set(re.findall(r"`(test_\w+)`", links(label)))
    assert tests, "a formula names the test that holds the code to it"
    assert tests - functions("tests") == set()
    code = {name for name in re.findall(r"(?<!\})`(\w+)`", links(label)) if not name.startswith("test_")}
    assert code - functions("solutions") - functions("kernels") == set()
    assert bool(code) == (label not in NO_FUNCTION)


@pytest.mark.parametrize("label", FORMULAS)
def test_the_chapter_links_back(label):
    chapters = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "book" / "chapters").glob("*.md"))
    assert f"(#{label})" in chapters


def test_the_table_of_trade_offs_has_every_activation_of_the_sheet():
    table = entries()["formula-activations-tradeoffs"]
    rows = re.findall(r"^\| *([^|]+?) *\|", table, re.MULTILINE)
    assert [name for name in TRADEOFFS if not any(row.lower().startswith(name.lower()) for row in rows)] == []


def test_every_formula_of_the_sheets_has_an_entry():
    named = {label for section in SECTIONS for label in section.entries.values()}
    assert named - set(FORMULAS) == set()


def test_no_exception_has_outlived_its_reason():
    assert (NO_FUNCTION.keys() | NO_FORMULA) - set(entries()) == set()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{section.sheet} {section.begins}")
def test_no_formula_of_a_sheet_is_forgotten(section):
    """Each line with a formula is one of those above: a formula that is new on a sheet, or was missed, fails here."""
    if not SEEDS.exists():
        pytest.skip(f"the sheets are not here: {SEEDS}")
    (file,) = SEEDS.glob(f"{section.sheet}_*.txt")
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    start = lines.index(section.begins)
    part = lines[start + 1 : lines.index(section.ends, start + 1)]
    formulas = [line for line in part if re.search(r"(?<!\w)=|\\approx|=\\", line) and not line.startswith("{%")]
    assert len(formulas) >= len(set(section.entries.values()))
    assert [line for line in formulas if not any(piece in line for piece in section.entries)] == []
    assert [piece for piece in section.entries if not any(piece in line for line in formulas)] == []
