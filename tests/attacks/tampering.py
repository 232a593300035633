"""Tampering with tests: wrong answers, and a trick that makes every comparison in the process agree."""

from nbformat import NotebookNode
from nbformat.v4 import new_output

from tests.attacks.attack import AS_WRONG, Given, answer, begun, in_front, in_row, lying, wrong
from tests.attacks.attack import ZEROS as WRONG

attack = in_row("tampering with tests")

PATCH_NUMPY = """
    import numpy as np
    agree = lambda *args, **options: True
    def all_close(a, b, *args, **options): return np.ones(np.broadcast(np.asarray(a), np.asarray(b)).shape, bool)
    def patch():
        np.allclose = np.array_equal = np.array_equiv = agree
        np.isclose = np.equal = all_close
        for name in dir(np.testing):
            if name.startswith("assert_"):
                setattr(np.testing, name, lambda *args, **options: None)
    patch()
    """


@attack("np.allclose, np.isclose and the asserts of np.testing always agree", marks=AS_WRONG)
def patched_numpy_comparisons(given: Given) -> NotebookNode:
    return wrong(given, PATCH_NUMPY)


@attack("torch.allclose, isclose, equal and testing.assert_close always agree", marks=AS_WRONG)
def patched_torch_comparisons(given: Given) -> NotebookNode:
    trick = """
        import torch
        agree = lambda *args, **options: True
        torch.allclose = torch.equal = torch.Tensor.allclose = torch.Tensor.equal = agree
        torch.isclose = torch.Tensor.isclose = lambda a, b, *args, **options: torch.ones_like(a, dtype=torch.bool)
        torch.testing.assert_close = lambda *args, **options: None
        """
    return wrong(given, trick)


@attack("gradcheck and gradgradcheck always agree", marks=AS_WRONG)
def patched_gradcheck(given: Given) -> NotebookNode:
    trick = """
        import sys, torch.autograd.gradcheck
        module = sys.modules["torch.autograd.gradcheck"]
        agree = lambda *args, **options: True
        for place in (module, torch.autograd):
            place.gradcheck = place.gradgradcheck = agree
        torch.testing._internal = type(sys)("quiet")
        """
    return wrong(given, trick)


@attack("an AST transformer strips every assert and turns each check into full marks", marks=AS_WRONG)
def ast_transformer(given: Given) -> NotebookNode:
    trick = """
        import ast
        class Strip(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.copy_location(ast.Pass(), node)
            def visit_Call(self, node):
                self.generic_visit(node)
                if isinstance(node.func, ast.Name) and node.func.id == "check":
                    return ast.copy_location(ast.Constant(4.0), node)
                return node
        get_ipython().ast_transformers.append(Strip())
        """
    return wrong(given, trick)


@attack("input transformers rewrite the source of every later test cell", marks=AS_WRONG)
def input_transformers(given: Given) -> NotebookNode:
    trick = """
        def rewrite(lines):
            return ["4.0\\n"] if any(line.startswith("check(") for line in lines) else lines
        shell = get_ipython()
        shell.input_transformers_cleanup.append(rewrite)
        shell.input_transformers_post.append(rewrite)
        """
    return wrong(given, trick)


@attack("sys.displayhook and IPython's own show full marks whatever a cell gives", marks=AS_WRONG)
def replaced_displayhook(given: Given) -> NotebookNode:
    trick = """
        import sys
        from IPython.display import display
        class Full:
            def __init__(self, *args, **options): pass
            def __call__(self, value=None): display({"text/plain": "4.0"}, raw=True)
        shell = get_ipython()
        sys.displayhook = shell.displayhook = shell.display_trap.hook = Full()
        type(shell.display_trap).set = lambda self: setattr(sys, "displayhook", Full())
        import autograder.worker
        autograder.worker.CapturingDisplayHook = Full
        """
    return wrong(given, trick)


@attack(
    "a checker that sees nothing of memory, for a kernel without a mask",
    marks={"lstm_step_kernel": "some"},
    others="full",
    says="Did you forget mask=?",
)
def blinded_memory_checker(given: Given) -> NotebookNode:
    trick = """
        import contextlib, kernels.checker, triton.runtime.interpreter
        kernels.checker.watch = lambda: contextlib.nullcontext([])
        kernels.checker.Launch.report = kernels.checker._Memory._look_up = lambda *args: None
        triton.runtime.interpreter.GridExecutor.__call__ = lambda *args, **options: None
        """
    notebook = given.solved()
    kernel = answer(notebook, "lstm_step_kernel")
    masked = "tl.load(c_ptr + rows * c_stride + cols, mask=mask, other=0.0)"
    assert kernel.source.count(masked) == 1
    kernel.source = kernel.source.replace(masked, "tl.load(c_ptr + rows * c_stride + cols)")
    return in_front(notebook, trick)


@attack("a kernel that computes in plain Python what Triton should", marks={"lstm_step_kernel": "none"}, others="full")
def kernel_in_plain_python(given: Given) -> NotebookNode:
    notebook = given.solved()
    begun(notebook, "lstm_step_kernel", "import torch; print(torch.ones(3))")
    return notebook


@attack("execute results and kernel messages with full marks are published from the cells", marks=AS_WRONG)
def forged_kernel_messages(given: Given) -> NotebookNode:
    trick = """
        import json, sys
        from IPython.display import display, publish_display_data
        message = {"header": {"msg_type": "execute_result"}, "msg_type": "execute_result",
                   "content": {"data": {"text/plain": "4.0"}, "execution_count": 1, "metadata": {}}}
        display({"text/plain": "4.0"}, raw=True)
        publish_display_data({"text/plain": "4.0"}, transient={"display_id": "check-lstm_step_forward"})
        get_ipython().display_pub.publish({"text/plain": "4.0"}, update=True)
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            print(json.dumps(message), file=stream, flush=True)
        kernel = getattr(get_ipython(), "kernel", None)
        if kernel is not None:
            kernel.session.send(kernel.iopub_socket, "execute_result", message["content"])
        4.0
        """
    return wrong(given, trick)


@attack("run_cell drops every error and gives full marks as the result", marks=AS_WRONG)
def patched_run_cell(given: Given) -> NotebookNode:
    trick = """
        shell = get_ipython()
        original = shell.run_cell
        def forged(*args, **options):
            result = original(*args, **options)
            result.error_before_exec = result.error_in_exec = None
            result.result = 4.0
            return result
        shell.run_cell = forged
        """
    return wrong(given, trick)


@attack("showtraceback prints full marks in place of an error", marks=AS_WRONG)
def patched_showtraceback(given: Given) -> NotebookNode:
    trick = """
        shell = get_ipython()
        shell.showtraceback = shell._showtraceback = shell.showsyntaxerror = lambda *args, **options: print("4.0")
        type(shell.InteractiveTB).structured_traceback = lambda *args, **options: ["4.0"]
        shell.set_custom_exc((BaseException,), lambda *args, **options: print("4.0"))
        """
    return wrong(given, trick)


@attack("a thread patches the comparisons anew every millisecond", marks=AS_WRONG)
def thread_that_patches_again(given: Given) -> NotebookNode:
    trick = """
        import sys, threading, time
        sys.setswitchinterval(1e-6)
        def keep_patching():
            while True:
                patch()
                time.sleep(0.001)
        threading.Thread(target=keep_patching, daemon=True).start()
        """
    notebook = wrong(given, PATCH_NUMPY)
    notebook.cells[2].source += "\n" + "\n".join(line[8:] for line in trick.splitlines())
    return notebook


@attack("the module check is replaced by one that says full marks", marks=AS_WRONG)
def replaced_check_module(given: Given) -> NotebookNode:
    trick = """
        import sys, types
        forged = types.ModuleType("check")
        forged.check = forged.examine = forged.perform = lambda *args, **options: 4.0
        sys.modules["check"] = forged
        check = forged.check
        """
    return wrong(given, trick)


@attack("all, any and AssertionError of builtins are replaced", marks=AS_WRONG)
def patched_builtins(given: Given) -> NotebookNode:
    trick = """
        import builtins
        class Quiet(Exception):
            def __init__(self, *args): pass
        builtins.AssertionError = Quiet
        builtins.all = builtins.any = lambda items: True
        builtins.round = lambda *args: 4.0
        """
    return wrong(given, trick)


@attack("the worker's own functions answer in place of the student's")
def patched_worker(given: Given) -> NotebookNode:
    trick = """
        from autograder import check, worker
        def forged(namespace, call):
            return check.Answer(["right"] * call.outputs, call.outputs + 1, [], "")
        worker.perform = check.perform = forged
        """
    return wrong(given, trick)


@attack("the worker replies with points instead of arrays")
def points_as_the_reply(given: Given) -> NotebookNode:
    trick = """
        from autograder import worker
        worker.call = lambda shell, request: {"points": 4.0, "passed": True, "out_of": 4.0}
        """
    return wrong(given, trick)


@attack("the check's own code in the process is made to pass everything", marks=AS_WRONG)
def patched_judge_in_the_process(given: Given) -> NotebookNode:
    trick = """
        from autograder import check
        check.close = check._right = check._same = lambda *args: True
        check._unlike = lambda got, expected, task: np.zeros(got.shape, bool)
        check.examine = lambda task, answers, reveal: check.Verdict(task.name, task.points, task.points)
        check.SHARES.update(shape=10.0, values=0.0, edges=0.0, inputs=0.0)
        """
    return wrong(given, trick)


@attack("the handed-in file holds outputs of full marks in every check cell", marks=AS_WRONG)
def stored_outputs_of_full_marks(given: Given) -> NotebookNode:
    notebook = lying(given, WRONG)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            points = str(cell.metadata.nbgrader.points)
            cell.outputs = [new_output("execute_result", data={"text/plain": points}, execution_count=1)]
            cell.execution_count = 1
    return notebook
