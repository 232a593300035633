"""Lying objects: answers that agree with whatever they are compared to."""

from nbformat import NotebookNode

from tests.attacks.attack import AS_WRONG, FORWARD, Given, begun, in_row, lying, wrapped

attack = in_row("lying objects")
SHAPES = dict.fromkeys(FORWARD, "shapes")  # what the answers in NumPy earn


@attack("an ndarray subclass whose __array_function__ and __array_ufunc__ always agree", marks=AS_WRONG)
def ndarray_that_intercepts_functions(given: Given) -> NotebookNode:
    lie = """
        import numpy as np
        class Liar(np.ndarray):
            def __array_function__(self, function, types, args, options): return True
            def __array_ufunc__(self, ufunc, method, *inputs, **options): return np.True_
        def lie(array): return np.zeros(array.shape).view(Liar)
        lie_of_torch = lie
        """
    return lying(given, lie)


@attack("an ndarray subclass that lies about its dtype, shape, size and text", marks=AS_WRONG)
def ndarray_that_lies_about_itself(given: Given) -> NotebookNode:
    lie = """
        import numpy as np
        class Liar(np.ndarray):
            dtype = property(lambda self: np.dtype(float))
            nbytes = property(lambda self: 0)
            def __len__(self): return 1 << 40
            def tobytes(self, *args): return b""
            def astype(self, *args, **options): return self
            def copy(self, *args): return self
        def lie(array): return np.zeros(array.shape).view(Liar)
        lie_of_torch = lie
        """
    return lying(given, lie)


@attack("a Tensor subclass whose __torch_function__ always agrees")
def tensor_that_intercepts_functions(given: Given) -> NotebookNode:
    lie = """
        import torch
        class Liar(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), options=None): return True
        def lie(array): return torch.zeros(array.shape).as_subclass(Liar)
        lie_of_torch = lie
        """
    return lying(given, lie)


@attack("an object that says that it belongs to torch, with a detach() of its own", marks=AS_WRONG)
def object_that_passes_for_a_tensor(given: Given) -> NotebookNode:
    lie = """
        import numpy as np
        class Agreeing(np.ndarray):
            def __array_function__(self, *args): return True
        class Liar:
            __module__ = "torch"
            def __init__(self, shape): self.shape = shape
            def detach(self): return self
            def cpu(self): return self
            def numpy(self): return np.zeros(self.shape).view(Agreeing)
        def lie(array): return Liar(array.shape)
        lie_of_torch = lie
        """
    return lying(given, lie)


AGREEING = """
    class Liar:
        {0}
        dtype, ndim = "float64", 2
        def __init__(self, like): self.shape = like.shape
    lie = lie_of_torch = Liar
    """


@attack("an object whose comparisons always say yes")
def object_that_is_equal_to_all(given: Given) -> NotebookNode:
    return lying(given, AGREEING.format("__eq__ = __le__ = __ge__ = __lt__ = __gt__ = lambda self, other: True"))


@attack("an object that is any number when asked, by __float__, __complex__, __int__ and __index__")
def object_that_is_any_number(given: Given) -> NotebookNode:
    methods = "__float__ = lambda self: 0.0; __complex__ = lambda self: 0j; __int__ = __index__ = lambda self: 0"
    return lying(given, AGREEING.format(methods))


@attack("an object whose differences, to either side, are zero")
def object_whose_differences_are_zero(given: Given) -> NotebookNode:
    methods = "__array_priority__ = 1e9; __sub__ = __rsub__ = __abs__ = lambda self, *other: 0.0"
    return lying(given, AGREEING.format(methods))


@attack("an object that turns into an array when it is compared, by __array__ and __array_interface__")
def object_that_becomes_an_array(given: Given) -> NotebookNode:
    methods = "__array__ = lambda self, *args, **options: __import__('numpy').zeros(self.shape)"
    return lying(given, AGREEING.format(methods))


@attack("an object whose __class__ says ndarray", marks=AS_WRONG)
def object_that_says_it_is_an_array(given: Given) -> NotebookNode:
    lie = """
        import numpy as np
        class Liar:
            __class__ = np.ndarray
            dtype = np.dtype(float)
            def __init__(self, shape): self.shape = shape
            def __array__(self, *args, **options): return np.zeros(self.shape)
        def lie(array): return Liar(array.shape)
        lie_of_torch = lie
        """
    return lying(given, lie)


@attack("a type whose name is no text but an array, a script or endless")
def type_with_a_forged_name(given: Given) -> NotebookNode:
    lie = """
        import numpy as np
        class Forged(type):
            __name__ = property(lambda cls: np.zeros(3))
        class Liar(metaclass=Forged): pass
        def lie(array): return Liar()
        lie_of_torch = lambda tensor: type("<script>alert(1)</script>" * 10_000, (), {})()
        """
    return lying(given, lie)


@attack("a tuple that lies about its length and its slices")
def tuple_that_lies_about_its_length(given: Given) -> NotebookNode:
    lie = """
        class Liar(tuple):
            def __len__(self): return 3
            def __getitem__(self, key): return self
            def __iter__(self): return iter(())
        lie = lie_of_torch = lambda array: Liar()
        def answer(*inputs): return Liar()
        """
    notebook = lying(given, lie)
    for name in FORWARD:
        wrapped(notebook, name, f"{name} = answer")
    return notebook


@attack("NaN everywhere", marks=AS_WRONG)
def not_a_number(given: Given) -> NotebookNode:
    lie = """
        import numpy as np, torch
        def lie(array): return np.full(array.shape, np.nan)
        def lie_of_torch(tensor): return torch.full(tensor.shape, torch.nan)
        """
    return lying(given, lie)


@attack("infinity everywhere", marks=AS_WRONG)
def infinity(given: Given) -> NotebookNode:
    lie = """
        import numpy as np, torch
        def lie(array): return np.full(array.shape, np.inf)
        def lie_of_torch(tensor): return torch.full(tensor.shape, torch.inf)
        """
    return lying(given, lie)


@attack("a masked array, all of whose entries count as equal", marks=SHAPES)
def masked_array(given: Given) -> NotebookNode:
    lie = """
        import numpy as np
        def lie(array): return np.ma.masked_all(array.shape)
        lie_of_torch = lie
        """
    notebook = lying(given, lie)
    return wrapped(notebook, "lstm_step_kernel", "def lstm_step(*inputs): return 'masked', 'masked'")


@attack("shapes of one that broadcast to any other")
def shapes_that_broadcast(given: Given) -> NotebookNode:
    lie = """
        import numpy as np, torch
        def lie(array): return np.zeros((1,) * array.ndim)
        def lie_of_torch(tensor): return torch.zeros(1, 1)
        """
    return lying(given, lie)


@attack("views with strides of zero, as large as they say and made of one number", marks=AS_WRONG)
def views_with_strides_of_zero(given: Given) -> NotebookNode:
    lie = """
        import numpy as np, torch
        def lie(array): return np.broadcast_to(0.0, array.shape)
        def lie_of_torch(tensor): return torch.zeros(1).expand(tensor.shape)
        """
    return lying(given, lie)


@attack("arrays of no elements, which agree in all of them")
def empty_arrays(given: Given) -> NotebookNode:
    lie = """
        import numpy as np, torch
        def lie(array): return np.zeros((0,) * array.ndim)
        def lie_of_torch(tensor): return torch.zeros(0, 0)
        """
    return lying(given, lie)


@attack("dtypes that compare as they like: bool, objects, text, records, dates")
def dtypes_that_agree(given: Given) -> NotebookNode:
    lie = """
        import itertools
        import numpy as np
        class Equal:
            __eq__ = lambda self, other: True
            __sub__ = __rsub__ = lambda self, other: 0.0
        forms = itertools.cycle([
            lambda shape: np.ones(shape, bool),
            lambda shape: np.full(shape, Equal(), object),
            lambda shape: np.full(shape, "0.0"),
            lambda shape: np.zeros(shape, [("value", float)]),
            lambda shape: np.zeros(shape, "datetime64[s]"),
            lambda shape: np.zeros(shape, complex),
            lambda shape: np.zeros(shape, np.int64),
        ])
        def lie(array): return next(forms)(array.shape)
        lie_of_torch = lie
        """
    return lying(given, lie)


@attack("bare numbers")
def scalars(given: Given) -> NotebookNode:
    lie = """
        import numpy as np, torch
        class Number(float):
            def __eq__(self, other): return True
        def lie(array): return Number(0.0)
        def lie_of_torch(tensor): return torch.tensor(0.0)
        """
    return lying(given, lie)


@attack("sets the inputs to zero in place, so that they agree with an answer of zeros", marks=AS_WRONG)
def inputs_changed_until_they_agree(given: Given) -> NotebookNode:
    lie = """
        import gc
        import numpy as np, torch
        def zero_everything(done=[]):
            if done:
                return
            done.append(1)
            for value in gc.get_objects():
                for part in value.values() if type(value) is dict else value if type(value) is list else ():
                    if type(part) is np.ndarray and part.dtype == float and part.flags.writeable:
                        part[...] = 0
        def lie(array):
            array[...] = 0
            zero_everything()
            return array
        def lie_of_torch(tensor): return tensor.zero_()
        """
    return lying(given, lie)


@attack("right, but overwrites its inputs", marks={"load_torch_weights": "some"}, others="full", says="changed during")
def right_but_changes_its_inputs(given: Given) -> NotebookNode:
    return wrapped(
        given.solved(),
        "load_torch_weights",
        """
        right = load_torch_weights
        def load_torch_weights(*inputs):
            outputs = right(*inputs)
            for array in inputs:
                array[...] = 0
            return outputs
        """,
    )


@attack("right on the first call only", marks={"load_torch_weights": "shapes"}, others="full")
def right_on_the_first_call_only(given: Given) -> NotebookNode:
    return wrapped(
        given.solved(),
        "load_torch_weights",
        """
        right, calls = load_torch_weights, []
        def load_torch_weights(*inputs):
            calls.append(1)
            return [part if len(calls) == 1 else 0 * part for part in right(*inputs)]
        """,
    )


@attack("right on those draws only where reset is after", marks={"gru_step_forward": "some"}, others="full")
def right_on_some_draws_only(given: Given) -> NotebookNode:
    return begun(given.solved(), "gru_step_forward", "if reset == 'before': return np.zeros_like(h), None")


@attack("a forward that puts the answer of its backward into the cache", marks={"lstm_step_forward": "shapes"})
def a_cache_that_holds_lies(given: Given) -> NotebookNode:
    lie = """
        import numpy as np, torch
        class Anything:
            __eq__ = lambda self, other: True
            __iter__ = lambda self: iter([self] * 10)
            __getattr__ = lambda self, name: self
            __call__ = lambda self, *args: self
            __mul__ = __rmul__ = __add__ = __radd__ = __matmul__ = __rmatmul__ = lambda self, other: self
        lie, lie_of_torch = np.zeros_like, lambda tensor: Anything()
        def lstm_step_backward(dh, dc, cache): return [Anything()] * 6
        """
    notebook = lying(given, lie)
    wrapped(
        notebook, "lstm_step_forward", "def lstm_step_forward(x, h, c, *weights): return lie(h), lie(c), Anything()"
    )
    wrapped(notebook, "lstm_step_backward", "def lstm_step_backward(dh, dc, cache): return [Anything()] * 6")
    for name in ("gru_step_forward", "load_torch_weights"):
        wrapped(notebook, name, f"def {name}(*inputs): return Anything()")
    return notebook
