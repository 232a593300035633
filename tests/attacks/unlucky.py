"""Honest and unlucky: right answers, in notebooks as people really hand them in; they keep their full marks."""

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from autograder import compose
from tests.attacks.attack import Given, answer, begun, in_front, in_row, wrapped, written
from tests.attacks.exhausting import own_cell

attack = in_row("honest and unlucky")


@attack("warnings of every kind, from cells and from answers", others="full")
def warnings_everywhere(given: Given) -> NotebookNode:
    source = """
        import warnings, logging
        import numpy as np
        warnings.simplefilter("always")
        warnings.warn("a warning")
        logging.warning("a logged warning")
        np.log(np.array([-1.0, 0.0]))
        """
    notebook = own_cell(given, source)
    for name in ("lstm_step_forward", "gru_step_forward", "lstm_step_backward"):
        begun(notebook, name, "import warnings; warnings.warn('honest', DeprecationWarning); np.float64(1) / 0")
    return notebook


@attack("a progress bar on stderr, as tqdm draws it", others="full")
def progress_bar_on_stderr(given: Given) -> NotebookNode:
    source = """
        import sys, time
        try:
            from tqdm import tqdm
        except ImportError:
            def tqdm(items):
                items = list(items)
                for number, item in enumerate(items, 1):
                    sys.stderr.write(f"\\r{number:3}%|{'█' * (number // 10):10}| {number}/{len(items)}")
                    sys.stderr.flush()
                    yield item
        for _ in tqdm(range(100)):
            time.sleep(0.001)
        """
    return begun(own_cell(given, source), "gru_step_forward", "for _ in tqdm(range(3)): pass")


@attack("threads that print while the answers are asked for", others="full")
def noisy_threads(given: Given) -> NotebookNode:
    source = """
        import sys, threading, time
        def chatter():
            while True:
                print("still here", file=sys.stderr)
                print("and here")
                time.sleep(0.001)
        for _ in range(3):
            threading.Thread(target=chatter, daemon=True).start()
        """
    return own_cell(given, source)


@attack("%matplotlib inline and plots of several kinds", others="full")
def matplotlib_inline_and_plots(given: Given) -> NotebookNode:
    source = """
        %matplotlib inline
        import matplotlib.pyplot as plt
        plt.rcParams["figure.dpi"] = 150
        figure, axes = plt.subplots(1, 2)
        axes[0].plot([1, 3, 2], label="loss")
        axes[0].legend()
        axes[1].imshow([[0, 1], [1, 0]])
        plt.show()
        plt.hist([1, 2, 2, 3])
        figure
        """
    return own_cell(given, source)


@attack("magics and shell commands that people use: %%time, !ls, %cd, %pip, %load_ext and others", others="full")
def other_magics(given: Given) -> NotebookNode:
    notebook = given.solved()
    cells = ["%%time\nsum(range(1000))", "!ls", "%cd ..", "%pip install numpy", "%%bash\necho hello", "%precision 4"]
    cells += ["%load_ext autoreload\n%autoreload 2", "%%capture\nprint(1)", "%pdb on", "%timeit -n 1 -r 1 1 + 1"]
    cells += ["%env OMP_NUM_THREADS=2", "!nvidia-smi", "np.zeros?", "%matplotlib widget", "%who"]
    cells += ["%config InlineBackend.figure_format = 'svg'", "%matplotlib inline", "%autosave 60", "%history"]
    for source in cells:
        in_front(notebook, source)
    in_front(notebook, "import numpy as np")
    return notebook


@attack("slow imports and a slow cell", others="full")
def slow_imports(given: Given) -> NotebookNode:
    source = """
        import time
        import matplotlib.animation, scipy.signal, scipy.stats, torch.nn, torch.optim, torch.utils.data
        time.sleep(1)
        """
    return own_cell(given, source)


@attack("right answers by other algorithms: loops, einsum, torch, a quotient for the sigmoid", others="full")
def other_algorithms(given: Given) -> NotebookNode:
    notebook = given.solved()
    step = """
        def lstm_step_forward(x, h, c, W_x, W_h, b):
            gates = np.einsum("bi,ik->bk", x, W_x) + np.einsum("bi,ik->bk", h, W_h) + b[None]
            blocks = gates.reshape(len(x), 4, -1).transpose(1, 0, 2)
            i, f, o = (sigmoid(blocks[k]) for k in (0, 1, 3))
            g = 2 / (1 + np.exp(-2 * np.clip(blocks[2], -300, 300))) - 1
            new = np.empty_like(c)
            for n in range(len(x)):
                for k in range(c.shape[1]):
                    new[n, k] = f[n, k] * c[n, k] + i[n, k] * g[n, k]
            return [o * np.tanh(new), new, (x, h, c, W_x, W_h, i, f, g, o, np.tanh(new))]
        """
    weights = """
        def load_torch_weights(weight_ih, weight_hh, bias_ih, bias_hh):
            import torch
            with torch.no_grad():
                layer = torch.nn.Linear(weight_ih.shape[1], weight_ih.shape[0]).double()
                layer.weight.copy_(torch.from_numpy(weight_ih))
                both = torch.stack([torch.from_numpy(bias_ih), torch.from_numpy(bias_hh)]).sum(0)
            return layer.weight.detach().T, torch.from_numpy(weight_hh).permute(1, 0), both
        """
    written(notebook, "lstm_step_forward", step)
    return written(notebook, "load_torch_weights", weights)


@attack("answers in Fortran order, as views and as lists of arrays", others="full")
def other_layouts_in_memory(given: Given) -> NotebookNode:
    source = """
        right = load_torch_weights
        def load_torch_weights(*inputs):
            return [np.asfortranarray(part)[::1] for part in right(*inputs)]
        """
    return wrapped(given.solved(), "load_torch_weights", source)


@attack(
    "float32 where float64 was expected: a message, not a zero",
    marks={"gru_step_forward": "some"},
    others="full",
    says="the values lose digits on the way",
)
def float32_for_float64(given: Given) -> NotebookNode:
    source = """
        exact = gru_step_forward
        def gru_step_forward(*inputs, **options):
            h, cache = exact(*inputs, **options)
            return h.astype(np.float32), cache
        """
    return wrapped(given.solved(), "gru_step_forward", source)


@attack("every check cell deleted", others="full")
def deleted_test_cells(given: Given) -> NotebookNode:
    notebook = given.solved()
    notebook.cells = [cell for cell in notebook.cells if compose.checked_question(cell) is None]
    return notebook


@attack("one answer not written yet, which says so", marks={"gru_step_forward": "none"}, others="full")
def one_answer_not_written(given: Given) -> NotebookNode:
    notebook = given.solved()
    answer(notebook, "gru_step_forward").source = answer(given.released(), "gru_step_forward").source
    return notebook


@attack("a syntax error in one answer", marks={"gru_step_forward": "none"}, others="full")
def a_syntax_error_in_one_answer(given: Given) -> NotebookNode:
    return begun(given.solved(), "gru_step_forward", "if (")


@attack("cells of notes, experiments, errors and outputs of an earlier run in between", others="full")
def notes_and_experiments(given: Given) -> NotebookNode:
    notebook = given.solved()
    places = [n for n, cell in enumerate(notebook.cells) if compose.checked_question(cell)]
    for place in reversed(places):
        failed = new_code_cell("lstm_step_forward(1, 2, 3)", execution_count=7)
        failed.outputs = [new_output("error", ename="TypeError", evalue="an old one", traceback=["\x1b[31mold\x1b[0m"])]
        notebook.cells[place + 1 : place + 1] = [new_markdown_cell("Why does it *work*?"), failed]
        notebook.cells[place].outputs = [new_output("display_data", data={"text/html": "<b>3 of 4 points</b>"})]
    return notebook


@attack("names of Python and of the notebook used for something else", others="full")
def names_used_for_something_else(given: Given) -> NotebookNode:
    source = "list = [1, 2]\nsum = 3\nx = h = c = 7\ntype = 'lstm'\nid = max = None\n_ = __ = 4\ncheck = 'done'"
    return own_cell(given, source)


@attack("%reset, del and a redefined In and Out in front of the answers", others="full")
def reset_in_front(given: Given) -> NotebookNode:
    return own_cell(given, "%reset -f\nimport numpy as np\nIn = Out = None")


@attack("answers split into helpers over several cells, with types and docstrings of their own", others="full")
def answers_split_into_helpers(given: Given) -> NotebookNode:
    notebook = given.solved()
    in_front(notebook, "def both(one: 'array', other: 'array') -> 'array':\n    '''Add.'''\n    return one + other")
    source = """
        def load_torch_weights(weight_ih, weight_hh, bias_ih, bias_hh):
            return weight_ih.T, weight_hh.T, both(bias_ih, bias_hh)
        """
    return written(notebook, "load_torch_weights", source)


@attack("await at the top of a cell, and an event loop left running", others="full")
def await_at_the_top(given: Given) -> NotebookNode:
    return own_cell(given, "import asyncio\nawait asyncio.sleep(0.01)\nasyncio.new_event_loop()")


@attack("a change of folder, a removed folder and files that are not there", others="full")
def change_of_folder(given: Given) -> NotebookNode:
    source = """
        import os
        os.makedirs("data", exist_ok=True)
        os.chdir("data")
        os.rmdir("../data")
        data = open("my_data.csv").read()
        """
    return own_cell(given, source)


@attack("letters of all scripts, emoji and control characters in code, text and output", others="full")
def letters_of_all_scripts(given: Given) -> NotebookNode:
    notebook = own_cell(given, "größe = '李 🎲 \\x00 \\x1b[31m \\u202e'\nprint(größe)\ngröße")
    notebook.cells.append(new_markdown_cell("Ünïcödé 🎲 \u202e $\\int_0^1$ \ufeff"))
    return notebook


@attack("random generators seeded, threads set and gradients switched off in the notebook", others="full")
def global_settings(given: Given) -> NotebookNode:
    source = """
        import random
        import numpy as np, torch
        random.seed(0); np.random.seed(0); torch.manual_seed(0)
        torch.set_num_threads(2)
        torch.set_grad_enabled(False)
        np.set_printoptions(precision=2, suppress=True)
        """
    return own_cell(given, source)


@attack("the cells of a training run that shows a table, a picture and a result", others="full")
def rich_results(given: Given) -> NotebookNode:
    source = """
        from IPython.display import HTML, Image, Latex, Markdown, SVG, clear_output, display
        for step in range(3):
            clear_output(wait=True)
            display(Markdown(f"**step {step}**"), HTML("<b>loss</b>"), Latex("$x$"))
        display(SVG("<svg xmlns='http://www.w3.org/2000/svg'/>"))
        np.zeros((1000, 1000))
        """
    return own_cell(given, "import numpy as np\n" + source.replace("\n        ", "\n"))
