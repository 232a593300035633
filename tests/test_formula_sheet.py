"""Every formula and table of the sheets stands on the formula sheet, with chapter, function, source and test."""

import ast
import itertools
import re
from functools import cache

import pytest

from autograder import blocks
from autograder.blocks import ROOT

SEEDS = ROOT.parent / "shared" / "seeds"  # the sheets themselves lie outside the repository
BOOK = ROOT / "book"
PAGE = (BOOK / "formula_sheet.md").read_text(encoding="utf-8")
CHAPTERS = sorted((BOOK / "chapters").glob("*.md"))

# Entries of the page that describe or bound something, and so have no function of their own.
NO_FUNCTION = {
    "formula-losses-reduction": "how a sum is divided, which each loss does",
    "formula-losses-gibbs": "an inequality",
    "formula-lstm-shapes": "a table of letters",
    "formula-lstm-bias": "a start for a parameter",
}
# Headings of the page over other entries, and tables.
NO_FORMULA = {
    "formula-activations-tradeoffs",
    "formula-attention-backward",
    "formula-losses-backward",
    "formula-lstm-backward",
    "formula-symbols",
}
# Blocks of the sheets whose chapter is not written yet, and what the page has of them. A chapter ends its line here.
TO_COME = {
    "backprop": "dense stack chain dense-backward uses",
    "gradient_descent": "update condition rate",
    "initialization": "xavier he summary",
    "regularization": "l2 l1 dropout table",
    "batch_norm": "forward backward",
    "residual": "skip relu6 bottleneck",
    "embeddings": "lookup tfidf cosine analogy pair sgns noise",
}
SHORT = {"gradient_descent": "descent", "initialization": "init", "batch_norm": "batchnorm"}

# What stands on each sheet, by a piece of its line, and the entry that has it. The book calls them A, B and C.
CLAIMS: dict[str, dict[str, str]] = {
    "000": {  # A
        r"current input vector, shape": "formula-lstm-shapes",
        r"is the scalar input dimension": "formula-lstm-shapes",
        r"input-weight matrices, shape": "formula-lstm-shapes",
        r"\vec{h}_t = \vec{o}_t": "formula-lstm-peephole",
        r"\vec{o}_t = \sigma": "formula-lstm-peephole",
        r"\vec{c}_t = \underbrace": "formula-lstm-peephole",
        r"\vec{f}_t = \sigma": "formula-lstm-peephole",
        r"\vec{i}_t = \sigma": "formula-lstm-peephole",
        r"\vec{g}_t = \tanh": "formula-lstm-peephole",
        r"• The input and forget gates inspect": "formula-lstm-peephole",
        r"• The optional peephole connections": "formula-lstm-peephole",
        r"\vec{x}_t^{(\ell+1)}": "formula-lstm-stack",
        r"x \Phi(x) =": "formula-activations-gelu",
        r"\operatorname{erf}(z) =": "formula-activations-gelu",
        r"\approx \frac{x}{2}": "formula-activations-gelu",
    },
    "001": {},  # A once more, without its formulas
    "002": {  # B
        "### Vanilla": "formula-backprop-dense",
        "h(x) = f(Wx + b)": "formula-backprop-dense",
        "### Softmax": "formula-activations-softmax",
        "softmax(x)_i =": "formula-activations-softmax",
        "### Embedding": "formula-embeddings-lookup",
        "### Max pooling": "formula-cnn-pool",
        "### Gated Recurrent Unit": "formula-gru-step",
        r"z_t = \sigma": "formula-gru-step",
        r"r_t = \sigma": "formula-gru-step",
        r"\widetilde{h}_t = \tanh": "formula-gru-step",
        r"h_t = z_t \circ": "formula-gru-step",
        "### Long Short-Term Memory": "formula-lstm-step",
        r"i_t = \sigma": "formula-lstm-step",
        r"f_t = \sigma": "formula-lstm-step",
        r"o_t = \sigma": "formula-lstm-step",
        r"\widetilde{c}_t = tanh": "formula-lstm-step",
        r"c_t = f_t \circ": "formula-lstm-step",
        r"h_t = o_t \circ": "formula-lstm-step",
        "### Sigmoid": "formula-activations-sigmoid",
        r"\sigma(x) = \frac{1}{1 + e^{-x}}": "formula-sigmoid",
        "### Hyperbolic tangent": "formula-activations-sigmoid",
        r"tanh(x) = \frac{e^{2x} - 1}{e^{2x} + 1}": "formula-sigmoid",
        "### Rectifier": "formula-activations-relu",
        r"f(x) = max(0, x)": "formula-activations-relu",
        "### Stacked layers": "formula-backprop-stack",
        "### Convolution": "formula-cnn-conv2d",
        "### Recurrence": "formula-rnn-step",
        "### Recursion": "formula-rnn-tree",
        "**Useful for:**": "formula-backprop-uses",
    },
    "003": {},  # B once more, without its formulas
    "004": {  # C
        r"\mathcal{L}_{MSE}": "formula-losses-mse",
        r"\mathcal{L}_{BCE}": "formula-losses-bce",
        r"\mathcal{L}_{CE}": "formula-losses-ce",
        "B = batch size": "formula-losses-reduction",
        r"\sigma(z) = \frac{1}{1+e^{-z}}": "formula-sigmoid",
        r"\text{softmax}(z_k) =": "formula-activations-softmax",
        "relu(z) = max(0, z)": "formula-activations-relu",
        "tanh(z) =": "formula-sigmoid",
        "ReLU/sigmoid → He init": "formula-activations-relu",
        r"w \leftarrow w - \eta": "formula-descent-update",
        r"\frac{\partial g}{\partial x}": "formula-backprop-chain",
        "• η = learning rate": "formula-descent-update",
        "• Propagate gradients backward": "formula-backprop-chain",
        "• Gradient at layer ℓ": "formula-backprop-dense-backward",
        r"\hat{x} = \frac{x - \mu_B}": "formula-batchnorm-forward",
        r"y = \gamma\,\hat{x} + \beta": "formula-batchnorm-forward",
        "μB, σB² = batch mean": "formula-batchnorm-forward",
        r"\frac{\lambda}{2}\|w\|^2": "formula-regularization-l2",
        r"\lambda\|w\|_1": "formula-regularization-l1",
        r"w \leftarrow w(1 - \eta\lambda)": "formula-regularization-l2",
        "• L2 → drives weights": "formula-regularization-table",
        "• L1 → encourages sparsity": "formula-regularization-l1",
        "• Bias terms are not regularized": "formula-regularization-l2",
        "• Dropout: randomly zero out": "formula-regularization-dropout",
        "• Early stopping:": "formula-regularization-table",
        r"W \sim \mathcal{U}": "formula-init-xavier",
        r"W \sim \mathcal{N}": "formula-init-he",
        "• Zero init →": "formula-init-summary",
        "• Large random init →": "formula-init-summary",
        "• Bias → always initialize to 0": "formula-lstm-bias",
        r"O = \left\lfloor": "formula-cnn-size",
        r"\text{out}[f_o, r, c] =": "formula-cnn-conv2d",
        "W = input size": "formula-cnn-size",
        "Parameter count per Conv layer =": "formula-cnn-params",
        "• MaxPool: takes max": "formula-cnn-pool",
        "• 1×1 Conv:": "formula-cnn-special",
        "• DepthwiseConv:": "formula-cnn-special",
        "• Condition number: κ": "formula-descent-condition",
        r"\text{TF-IDF}(w,d) =": "formula-embeddings-tfidf",
        r"\cos(\mathbf{v},\mathbf{w}) =": "formula-embeddings-cosine",
        "Word analogy:": "formula-embeddings-analogy",
        "P(+|t,c) = ": "formula-embeddings-pair",
        r"\log P(+|t,c) +": "formula-embeddings-sgns",
        "• Noise word sampling:": "formula-embeddings-noise",
        "• Learn separate W (target)": "formula-embeddings-pair",
        r"s_t = \tanh(U\,x_t + W\,s_{t-1})": "formula-rnn-step",
        r"o_t = \text{softmax}(V\,s_t)": "formula-rnn-output",
        "• BPTT:": "formula-rnn-bptt",
        "• Long sequences →": "formula-rnn-jacobian",
        "• Gradient clipping:": "formula-rnn-clip",
        r"f_t = \sigma": "formula-lstm-step",
        r"i_t = \sigma": "formula-lstm-step",
        r"C_t = f_t": "formula-lstm-step",
        r"o_t = \sigma": "formula-lstm-step",
        "f = forget": "formula-gru-step",
        r"e_{ti} = f_{att}": "formula-attention-additive",
        r"\alpha_{ti} =": "formula-attention-additive",
        r"\hat{z}_t =": "formula-attention-additive",
        r"\text{Attention}(Q,K,V) =": "formula-attention-sdpa",
        "Keys = encoder hidden states": "formula-attention-seq2seq",
        r"\mathcal{L}_{VAE}": "formula-vae-elbo",
        r"D_{KL} = -\frac{1}{2}": "formula-vae-kl",
        "Reparameterization: z =": "formula-vae-reparameterization",
        r"G^{[l]} = M^{[l]}": "formula-style-gram",
        r"\mathcal{L} = \alpha": "formula-style-losses",
        r"\text{IoU} =": "formula-yolo-iou",
        "Non-max suppression:": "formula-yolo-nms",
        "O = ⌊(W−K+2P)/S⌋ + 1": "formula-cnn-size",
        "• Same padding: P = (K−1)/2": "formula-cnn-size",
        "• Valid padding: P = 0": "formula-cnn-size",
        "• Params = K² × C_in × C_out": "formula-cnn-params",
        "• Xavier/Glorot: tanh": "formula-init-xavier",
        "• He/Kaiming: ReLU": "formula-init-he",
        "• Bias: always → 0": "formula-init-summary",
        "• Zero weights:": "formula-init-summary",
        "• Too large:": "formula-init-summary",
        "• L2: weight decay": "formula-regularization-table",
        "• L1: sparsity": "formula-regularization-table",
        "• Dropout: random neuron": "formula-regularization-table",
        "• Data augmentation:": "formula-regularization-table",
        "y = F(x, W) + x": "formula-residual-skip",
        "• Solves vanishing gradients": "formula-residual-skip",
        "• Output = residual + identity": "formula-residual-skip",
        "• Related to ODE solvers": "formula-residual-skip",
        "κ = λ_max / λ_min": "formula-descent-condition",
        "• Large κ →": "formula-descent-condition",
        "• H = U·Diag(λ)·Uᵀ": "formula-descent-condition",
        "• Leads to zigzag": "formula-descent-condition",
        "max_D min_G": "formula-gan-game",
        "• D = discriminator": "formula-gan-game",
        "• z ~ N(0,1) for generator": "formula-gan-game",
        "• Use label smoothing": "formula-gan-smoothing",
        "a = {a1,…,aL}": "formula-attention-regions",
        "expand → depthwise": "formula-residual-bottleneck",
        "• Inverted residual block": "formula-residual-bottleneck",
        "• Fewer params than standard conv": "formula-residual-bottleneck",
        "• ReLU6 =": "formula-residual-relu6",
    },
}
LETTERS = {"000": "A", "002": "B", "004": "C"}
# The tables of the sheets by their headings, and the entries whose tables have a row for each of theirs.
TABLES = {
    "| Symbol | Meaning |": "formula-symbols",
    "| Step | Equation | Role |": "formula-lstm-shapes",
    "| Activation | Pros | Cons | Common use cases |": "formula-activations-tradeoffs",
}
# A line of a sheet that says something to look up: a formula, a heading of sheet B, a point of a list.
WORTH_AN_ENTRY = re.compile(r"[=≈←→≤≥>]|\\(approx|in|sim|leftarrow|sum|frac|prod|log)\b|E\[|^•|^### |^\*\*Useful for")


@cache
def entries() -> dict[str, str]:
    """The text of each entry of the page by its label."""
    parts = re.split(r"^\((formula-[\w-]+)\)=$", PAGE, flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {label: text for label, text in texts.items() if not label.startswith("formula-sheet")}


@cache
def to_come() -> set[str]:
    """The entries without a chapter."""
    return {f"formula-{SHORT.get(stem, stem)}-{name}" for stem, names in TO_COME.items() for name in names.split()}


def links(label: str) -> str:
    (found,) = re.findall(r"^Links\n: (.*)$", entries()[label], re.MULTILINE)
    return found


def named(label: str) -> set[str]:
    """The functions and kernels that an entry names."""
    return {name for name in re.findall(r"(?<!\})`(\w+)`", links(label)) if not name.startswith("test_")}


@cache
def sections() -> dict[str, str]:
    """The text behind each label of the book, up to the next one."""
    book = "\n".join(path.read_text(encoding="utf-8") for path in BOOK.rglob("*.md"))
    parts = re.split(r"^\(([\w-]+)\)=$", book, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@cache
def equations() -> set[str]:
    return {
        label for text in sections().values() for label in re.findall(r"^\s*\$\$ \(([\w-]+)\)$", text, re.MULTILINE)
    }


@cache
def functions(folder: str) -> set[str]:
    files = (ROOT / folder).rglob("*.py")
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in files)
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


FORMULAS = sorted(set(entries()) - NO_FORMULA - to_come())


def sheet(number: str) -> list[str]:
    """The lines of a sheet."""
    if not SEEDS.exists():
        pytest.skip(f"the sheets are not here: {SEEDS}")
    (file,) = SEEDS.glob(f"{number}_*.txt")
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("label", FORMULAS)
def test_a_formula_is_linked_to_its_derivation(label):
    anchors, numbered = re.findall(r"\]\(#([\w-]+)\)", links(label)), re.findall(r"\{eq\}`([\w-]+)`", links(label))
    assert anchors, "a formula names its derivation"
    assert set(anchors) - sections().keys() == set()
    assert set(numbered) - equations() == set()
    assert numbered or label in NO_FUNCTION


@pytest.mark.parametrize("label", FORMULAS)
def test_a_formula_names_functions_and_a_test_that_exist(label):
    tests = set(re.findall(r"`(test_\w+)`", links(label)))
    assert tests, "a formula names the test that holds the code to it"
    assert tests - functions("tests") == set()
    assert named(label) - functions("solutions") - functions("kernels") == set()
    assert bool(named(label)) == (label not in NO_FUNCTION)


@pytest.mark.parametrize("label", FORMULAS)
def test_a_formula_links_to_the_source_of_each_function_that_it_names(label):
    shown = {
        name
        for anchor in re.findall(r"\]\(#([\w-]+)\)", links(label))
        for name in re.findall(r"\{solution\} (\w+)|^:pyobject: (\w+)", sections()[anchor], re.MULTILINE)
    }
    shown_names = {name for pair in shown for name in pair if name}
    assert (named(label) & functions("solutions")) - functions("kernels") - shown_names == set()


@pytest.mark.parametrize("label", FORMULAS)
def test_the_chapter_links_back(label):
    assert any(f"(#{label})" in chapter.read_text(encoding="utf-8") for chapter in CHAPTERS)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_a_chapter_links_to_its_part_of_the_formula_sheet_before_its_first_section(chapter):
    top, _, _ = chapter.read_text(encoding="utf-8").partition("\n## ")
    (part,) = re.findall(r"^```\{sheet-part\} ([\w-]+)$", top, re.MULTILINE)
    assert re.search(rf"^Chapter: \[[^\]]+\]\(chapters/{chapter.stem}\.md\), ", sections()[part], re.MULTILINE)


@pytest.mark.parametrize("label", sorted(to_come()))
def test_a_formula_without_a_chapter_says_so_and_has_shapes_and_the_words_of_the_sheets(label):
    assert links(label).startswith("chapter to come")
    assert re.search(r"^Sheets\n: ", entries()[label], re.MULTILINE)
    assert re.search(r"^Shapes\n: ", entries()[label], re.MULTILINE) or "\n|---|" in entries()[label]


def test_nothing_else_waits_for_a_chapter_and_no_chapter_that_exists_is_waited_for():
    assert {label for label in entries() if "chapter to come" in entries()[label]} == to_come()
    assert TO_COME.keys() & set(blocks.stems()) == set()
    waiting = {label for label, text in sections().items() if "\nChapter to come:" in text}
    assert waiting == {f"formula-sheet-{stem}" for stem in TO_COME}


def test_no_exception_has_outlived_its_reason():
    assert (NO_FUNCTION.keys() | NO_FORMULA) - set(entries()) == set()


@pytest.mark.parametrize("number", CLAIMS)
def test_no_formula_of_a_sheet_is_forgotten(number):
    """A formula that is new on a sheet, or was missed, fails here."""
    lines = [line for line in sheet(number) if WORTH_AN_ENTRY.search(line) and not line.startswith(("{%", "|"))]
    assert [line for line in lines if not any(piece in line for piece in CLAIMS[number])] == []
    assert [piece for piece in CLAIMS[number] if not any(piece in line for line in lines)] == []


@pytest.mark.parametrize("number", LETTERS)
def test_an_entry_says_what_each_sheet_has_of_it(number):
    letter = LETTERS[number]
    says = re.compile(rf"^: [^:\n]*\b{letter}\b[^:\n]*:|sheet {letter}\b", re.MULTILINE)
    assert [label for label in CLAIMS[number].values() if not says.search(entries()[label])] == []


@pytest.mark.parametrize("heading", TABLES)
def test_a_table_of_the_sheets_has_a_table_with_all_of_its_rows(heading):
    lines = sheet("001")
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[lines.index(heading) + 2 :])
    table = "\n".join(re.findall(r"^\|.*", entries()[TABLES[heading]], re.MULTILINE)).lower().replace("-", " ")
    firsts = [row.split("|")[1].partition("(")[0] for row in rows]
    names = [first.replace("-", " ").strip().lower().removesuffix(" update") for first in firsts]
    assert names
    assert [name for name in names if name not in table] == []
