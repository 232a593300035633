"""Watch kernels in Triton's interpreter: lanes out of bounds, races between programs, and how many bytes move.

The interpreter runs one program after the other in the memory of this process, so it notices neither. Here every
tensor gets an address range of its own, far from all others; each load and store is looked up there before it
happens. The file needs NumPy and Triton only: a copy of it lies beside the exercise notebooks.

It reaches into parts of Triton that are not public. Where they are not as expected, `why_not` says so, and `watch`
warns and sees nothing.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

SECTOR = 32  # bytes that a GPU moves at least
BANDWIDTH = 4.3e12  # bytes per second that an H200 copies
PEAK = {2: 790e12, 4: 395e12}  # operations per second of its tensor cores, by the bytes of an operand
ROOM = 40  # bits of an address that lie within the range of one argument
SEVERAL = -1
PATCHED = ("create_masked_load", "create_masked_store", "create_atomic_rmw", "create_atomic_cas")
INTERPRETER = ("GridExecutor", "TensorHandle", "_implicit_cvt", "_patch_lang")

Program = tuple[int, int, int]


@dataclass(frozen=True)
class Finding:
    """One fault of a kernel: its `kind` is "bounds", "race" or "undefined"."""

    kind: str
    message: str


@dataclass
class Traffic:
    """What a launch moved of one tensor, and what of it was different, in bytes."""

    loaded: int = 0
    stored: int = 0
    needed: int = 0

    @property
    def moved(self) -> int:
        return self.loaded + self.stored


@dataclass
class Launch:
    """One launch of a kernel: its faults, and what it cost.

    `moved` counts each element once per load or store of a program, `needed` once per launch; both in bytes.
    `sectors` counts the pieces of 32 bytes that these loads and stores touch, `flops` the operations of tl.dot.
    """

    kernel: str
    grid: tuple[int, ...]
    findings: list[Finding] = field(default_factory=list)
    traffic: dict[str, Traffic] = field(default_factory=dict)
    sectors: int = 0
    flops: int = 0
    operand: int = 4

    @property
    def moved(self) -> int:
        return sum(part.moved for part in self.traffic.values())

    @property
    def needed(self) -> int:
        return sum(part.needed for part in self.traffic.values())

    @property
    def share_of_sectors(self) -> float:
        """How much of the sectors that it touches a launch uses: 1 where neighbors are read together."""
        return self.moved / (SECTOR * self.sectors) if self.sectors else 1.0

    @property
    def roofline(self) -> float:
        """The seconds that an H200 needs at least: for the bytes that must move, or for the operations of tl.dot."""
        return max(self.needed / BANDWIDTH, self.flops / PEAK[self.operand])

    def report(self, kind: str, message: str) -> None:
        """Take note of a fault; one of a kind is enough, since one slip shows at a thousand lanes."""
        if all(finding.kind != kind for finding in self.findings):
            self.findings.append(Finding(kind, message))


def why_not() -> str:
    """Say why kernels can't be watched here; nothing where they can."""
    try:
        import triton
        from triton.runtime import interpreter
    except ImportError as error:
        return f"triton is not installed ({error})"
    if not triton.knobs.runtime.interpret:
        return "kernels run on the GPU here: set TRITON_INTERPRET=1 before triton is imported"
    builder = getattr(interpreter, "interpreter_builder", None)
    lacking = [name for name in (*PATCHED, "create_dot", "set_grid_idx") if not hasattr(builder, name)]
    lacking += [name for name in INTERPRETER if not hasattr(interpreter, name)]
    if lacking:
        return f"triton {triton.__version__} has no {', '.join(lacking)} in its interpreter; the checker needs 3.7"
    return ""


@contextmanager
def watch() -> Iterator[list[Launch]]:
    """Watch every launch until the block ends; the list that it gives grows by one Launch for each.

    Lanes out of bounds are not carried out: they load NaN, or 0 for integers, and store nothing. Warns with
    RuntimeWarning and watches nothing where `why_not` has a reason.
    """
    launches: list[Launch] = []
    reason = why_not()
    if reason:
        warnings.warn(f"kernels are not checked for their memory: {reason}", RuntimeWarning, stacklevel=3)
        yield launches
        return
    from triton.runtime import interpreter

    real = interpreter.GridExecutor.__call__

    def run(executor: Any, *args: Any, **options: Any) -> Any:
        with np.errstate(all="ignore"), _Memory(executor, launches).watching(interpreter):
            return real(executor, *args, **options)

    with ExitStack() as undo:
        _replace(undo, interpreter.GridExecutor, "__call__", run)
        yield launches


def _replace(undo: ExitStack, owner: Any, name: str, value: Any) -> None:
    """Set an attribute until `undo` closes."""
    own = name in vars(owner)
    undo.callback(setattr, owner, name, getattr(owner, name)) if own else undo.callback(delattr, owner, name)
    setattr(owner, name, value)


class _View:
    """A tensor that a kernel got: where its elements really lie, and which bytes of its storage they are."""

    def __init__(self, name: str, tensor: Any) -> None:
        self.name, self.itemsize = name.removesuffix("_ptr"), tensor.element_size()
        self.address, self.shape = tensor.data_ptr(), tuple(tensor.shape)
        offsets = np.zeros(1, np.int64)
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
            offsets = (offsets[:, None] + stride * np.arange(size)).ravel()
        self.inside = np.zeros(int(offsets.max(initial=-1)) + 1, bool)
        self.inside[offsets] = True
        self.start = tensor.storage_offset() * self.itemsize  # within the storage

    def holds(self, offsets: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
        """At which byte offsets from the first element `size` bytes are all those of elements."""
        first, last = offsets // self.itemsize, (offsets + size - 1) // self.itemsize
        near: np.ndarray[Any, Any] = (first >= 0) & (last < len(self.inside)) & (offsets % size == 0)
        near[near] = self.inside[first[near]] & self.inside[last[near]]
        return near

    def place(self, offset: int) -> str:
        """An element as a person would write it; between the rows of a tensor there is none."""
        number = offset // self.itemsize
        gap = " (between its rows)" if 0 <= number < len(self.inside) and not self.inside[number] else ""
        of = " × ".join(map(str, self.shape))
        return f"{self.name}[{number}] of {of or 1}{gap}"


class _Shadow:
    """Which program has loaded, stored and added to each unit of a storage: its number, 0 for none, -1 for several."""

    def __init__(self, size: int, unit: int) -> None:
        self.unit = unit
        self.by = {kind: np.zeros(-(-size // unit), np.int32) for kind in ("load", "store", "atomic")}

    def mark(self, kind: str, units: np.ndarray[Any, Any], program: int) -> int:
        """Enter an access; return how many units nobody had accessed in this way."""
        before = self.by[kind][units]
        self.by[kind][units] = np.where((before == 0) | (before == program), program, SEVERAL)
        return int((before == 0).sum())

    def others(self, kind: str, units: np.ndarray[Any, Any], program: int) -> np.ndarray[Any, Any]:
        """Mark the units that another program has accessed in this way."""
        by = self.by[kind][units]
        found: np.ndarray[Any, Any] = (by != 0) & (by != program)
        return found


# What one program does, and what no other may have done to the same element in the same launch.
AGAINST = {"load": ("store", "atomic"), "store": ("store", "load", "atomic"), "atomic": ("store", "load")}
VERBS = {"load": "loads", "store": "stores", "atomic": "adds to"}
ADVICE = {
    ("store", "store"): "which of them counts is chance. Give every program elements of its own, or use tl.atomic_add",
    ("load", "store"): "programs run in any order. Use tl.atomic_add, or a second launch",
}


class _Memory:
    """The memory of one launch: its views by address range, and a shadow for each storage below them."""

    def __init__(self, executor: Any, launches: list[Launch]) -> None:
        self._executor = executor
        self._launch = Launch(executor.fn.__name__, ())
        launches.append(self._launch)
        self._views: list[_View] = []
        self._shadows: dict[int, _Shadow] = {}  # by the address of the storage
        self._storages: list[int] = []  # of each view
        self._programs: dict[Program, int] = {}
        self._patched: set[int] = set()
        self._left_open = ""  # a load with a mask and without other=
        self._nan_was_there = False

    @contextmanager
    def watching(self, interpreter: Any) -> Iterator[None]:
        """Put this memory between the interpreter and the real one."""
        builder = interpreter.interpreter_builder
        self._handle, self._convert = interpreter.TensorHandle, interpreter._implicit_cvt
        self._bool = interpreter.tl.int1
        with ExitStack() as undo:
            _replace(undo, self._executor, "_init_args_hst", partial(self._enter, self._executor._init_args_hst))
            _replace(undo, interpreter, "_implicit_cvt", self._to_pointer)
            _replace(undo, interpreter, "_patch_lang", partial(self._patch_once, interpreter._patch_lang))
            for name in (*PATCHED, "create_dot"):
                own: Callable[..., Any] = getattr(self, name.removeprefix("create"))
                _replace(undo, builder, name, partial(own, getattr(builder, name)))
            self._builder = builder
            yield
        self._launch.grid = tuple(builder.grid_dim)

    # --- arguments ---

    def _enter(self, real: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Remember the tensors of a launch by name."""
        args, options = real(args, options)
        named = inspect.getcallargs(self._executor.fn, *args, **options)
        tensors = {name: getattr(value, "base", value) for name, value in named.items()}
        self._tensors = [(name, tensor) for name, tensor in tensors.items() if hasattr(tensor, "data_ptr")]
        for name, tensor in self._tensors:
            storage = tensor.untyped_storage()
            self._views.append(_View(name, tensor))
            self._storages.append(storage.data_ptr())
            shadow = self._shadows.get(storage.data_ptr())
            unit = math.gcd(tensor.element_size(), shadow.unit if shadow else 0)
            self._shadows[storage.data_ptr()] = _Shadow(storage.nbytes(), unit)
        return args, options

    def _to_pointer(self, value: Any) -> Any:
        """Convert an argument as the interpreter does, but give a tensor the address range of its view."""
        converted = self._convert(value)
        for number, (_, tensor) in enumerate(self._tensors):
            if value is tensor:
                converted.handle.data = np.array([_base(number)], np.uint64)
        return converted

    def _patch_once(self, real: Callable[..., Any], function: Any) -> Any:
        """Let the interpreter put its language in place for the kernel, but not again at every call of a helper."""
        if id(function.__globals__) in self._patched:
            return None  # which nobody looks at: only the kernel's own is undone
        self._patched.add(id(function.__globals__))
        return real(function)

    # --- what the builder is asked for ---

    def _masked_load(
        self, real: Callable[..., Any], ptrs: Any, mask: Any, other: Any, *how: Any, **options: Any
    ) -> Any:
        mask = self._as_handle(mask)
        pointers, reached = self._look_up("load", ptrs, mask)
        result = real(pointers, reached, other, *how, **options)
        wanted = np.broadcast_to(mask.data.astype(bool), result.data.shape)
        if result.data.dtype.kind == "f":
            self._nan_was_there |= bool(np.isnan(result.data[reached.data]).any())
            strays = wanted & ~reached.data
            if other is None and not wanted.all():
                strays = ~reached.data
                self._left_open = self._left_open or f"program {self._builder.grid_idx}"
            result.data = np.where(strays, np.nan, result.data).astype(result.data.dtype)
        return result

    def _masked_store(self, real: Callable[..., Any], ptrs: Any, value: Any, mask: Any, *how: Any) -> Any:
        pointers, reached = self._look_up("store", ptrs, self._as_handle(mask), value)
        self._find_undefined(value, reached)
        return real(pointers, value, reached, *how)

    def _atomic_rmw(self, real: Callable[..., Any], operation: Any, ptr: Any, value: Any, mask: Any, *how: Any) -> Any:
        pointers, reached = self._look_up("atomic", ptr, mask)
        self._find_undefined(value, reached)
        return real(operation, pointers, value, reached, *how)

    def _atomic_cas(self, real: Callable[..., Any], ptr: Any, expected: Any, value: Any, *how: Any) -> Any:
        everywhere = self._builder.create_icmpEQ(expected, expected)
        pointers, reached = self._look_up("atomic", ptr, everywhere)
        if not reached.data.all():
            return expected
        return real(pointers, expected, value, *how)

    def _dot(self, real: Callable[..., Any], a: Any, b: Any, *rest: Any) -> Any:
        self._launch.flops += 2 * a.data.size * b.data.shape[-1]
        self._launch.operand = 4 if a.data.dtype.itemsize >= 4 else 2
        return real(a, b, *rest)

    def _find_undefined(self, value: Any, reached: Any) -> None:
        """Report a NaN that goes to memory and came from no memory, but from where a mask was false."""
        stored = np.broadcast_to(value.data, reached.data.shape)[reached.data]
        if self._left_open and not self._nan_was_there and stored.dtype.kind == "f" and np.isnan(stored).any():
            self._launch.report(
                "undefined",
                f"{self._left_open} loads with a mask but without other=, and what lies outside of the mask, which "
                "can be anything, ends up in a result. Give other= a value that changes nothing",
            )

    def _as_handle(self, mask: Any) -> Any:
        """A mask as loads and stores have it; those of block pointers and descriptors come as plain arrays."""
        return self._handle(mask, self._bool) if isinstance(mask, np.ndarray) else mask

    # --- one access ---

    def _look_up(self, kind: str, ptrs: Any, mask: Any, value: Any = None) -> tuple[Any, Any]:
        """Check one access; return the real pointers, and the lanes that may be carried out."""
        lanes = np.broadcast_to(mask.data.astype(bool), ptrs.data.shape)  # & with a scalar leaves integers
        reached, real = np.zeros(ptrs.data.shape, bool), np.zeros(ptrs.data.shape, np.uint64)
        owners = np.where(lanes, (ptrs.data >> np.uint64(ROOM)).astype(np.int64) - 1, -1)
        size = max(1, ptrs.get_element_ty().primitive_bitwidth // 8)
        for number in np.unique(owners[lanes]):
            if not 0 <= number < len(self._views):
                text = f"program {self._builder.grid_idx} {VERBS[kind]} an address that belongs to no argument"
                self._launch.report("bounds", text)
                continue
            view, mine = self._views[number], owners == number
            offsets = (ptrs.data - np.uint64(_base(int(number)))).astype(np.int64)
            held = mine & view.holds(offsets, size)
            if (mine & ~held).any():
                self._report_bounds(kind, view, int(offsets[mine & ~held][0]), bool(lanes.all()))
            if held.any():
                values = None if value is None else np.broadcast_to(value.data, held.shape)[held]
                self._account(kind, int(number), offsets[held], size, values)
            real[held] = (view.address + offsets[held]).astype(np.uint64)
            reached |= held
        return self._handle(real, ptrs.dtype), self._handle(reached, mask.dtype)

    def _account(self, kind: str, number: int, offsets: np.ndarray[Any, Any], size: int, values: Any) -> None:
        """Count the bytes of lanes within bounds, and look for races."""
        view, shadow = self._views[number], self._shadows[self._storages[number]]
        different, first = np.unique(offsets, return_index=True)
        if values is not None and len(different) < len(offsets):
            self._find_lost_lanes(view, offsets, values, different, first)
        places = view.start + different
        units = np.unique(places // shadow.unit)
        if size > shadow.unit:
            units = (units[:, None] + np.arange(size // shadow.unit)).ravel()
        program = self._programs.setdefault(self._builder.grid_idx, len(self._programs) + 1)
        for earlier in AGAINST[kind]:
            clash = shadow.others(earlier, units, program)
            if clash.any():
                where = int(units[clash][0])
                self._report_race(kind, earlier, view, where * shadow.unit - view.start, int(shadow.by[earlier][where]))
        fresh = shadow.mark(kind, units, program) * shadow.unit
        part = self._launch.traffic.setdefault(view.name, Traffic())
        moved = len(different) * size
        part.loaded, part.stored = part.loaded + moved * (kind == "load"), part.stored + moved * (kind != "load")
        part.needed += fresh
        self._launch.sectors += len(np.unique(places // SECTOR))

    def _find_lost_lanes(self, view: _View, offsets: Any, values: Any, different: Any, first: Any) -> None:
        """Lanes of one program that store different values at one place: all but one are lost."""
        winner = values[first][np.searchsorted(different, offsets)]
        lost = (values != winner) & ~((values != values) & (winner != winner))
        if lost.any():
            place = view.place(int(offsets[lost][0]))
            text = f"two lanes of program {self._builder.grid_idx} store different values at {place}: one of them"
            self._launch.report("race", f"{text} is lost. Use tl.atomic_add, or add the lanes up first")

    def _report_bounds(self, kind: str, view: _View, offset: int, unmasked: bool) -> None:
        ask = "Did you forget mask=?" if unmasked else "Does the mask leave out all that lies outside?"
        what = "atomic operation" if kind == "atomic" else kind
        place = view.place(offset)
        if place.endswith("(between its rows)"):
            ask += " Does each row begin a stride after the one before?"
        self._launch.report("bounds", f"{what} out of bounds in program {self._builder.grid_idx}: {place}. {ask}")

    def _report_race(self, kind: str, earlier: str, view: _View, offset: int, by: int) -> None:
        me, place = self._builder.grid_idx, view.place(offset)
        known = {number: program for program, number in self._programs.items()}
        other = f"program {known[by]}" if by in known else "more than one other program"
        advice = ADVICE.get((kind, earlier), ADVICE["load", "store"])
        text = f"race: program {me} {VERBS[kind]} {place}, {other} {VERBS[earlier]} it in the same launch"
        self._launch.report("race", f"{text}; {advice}")


def _base(number: int) -> int:
    """The address that the first element of a view has while it is watched; there is room on both sides of it."""
    return ((number + 1) << ROOM) + (1 << (ROOM - 1))
