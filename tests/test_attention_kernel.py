"""Flash attention: what the tests of all kernels' values and gradients leave open."""

import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from autograder.questions.attention import KERNEL, walk_over_keys
from kernels import INTERPRETED, checker
from kernels.attention import LARGEST, attention, attention_forward
from tests import ahead_of_time, kernel_twins
from tests.kernel_guards import guarded_outputs
from tests.submitted_kernel import submitted, verdict_on
from tests.test_kernel_values import assert_kernel_close
from tests.tolerances import assert_close

TWIN = kernel_twins.twins()["attention_forward"]
SIZES = {"batch": 1, "heads": 2, "queries": 5, "keys": 7, "d_k": 3, "d_v": 6}
interpreted = pytest.mark.skipif(not INTERPRETED, reason="launches are watched in the interpreter")
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
each_mask = pytest.mark.parametrize("causal", [False, True], ids=["all keys", "causal"])


def draw(rng, dtype=torch.float32, **sizes):
    return list(kernel_twins.draw(TWIN.forward, rng, SIZES | sizes, {}, dtype).values())[:3]


def assert_values_and_gradients(tensors, causal, rng):
    """Hold a call and its way back to those of NumPy, each output between guards, no launch out of bounds."""
    tensors = [tensor.requires_grad_() for tensor in tensors]
    with guarded_outputs(), checker.watch() if INTERPRETED else pytest.MonkeyPatch.context() as launches:
        Z = attention_forward(*tensors, causal)
        dZ = torch.tensor(rng.standard_normal(tuple(Z.shape))).to(Z)
        gradients = torch.autograd.grad(Z, tensors, dZ)
    if INTERPRETED:
        assert [finding.message for launch in launches for finding in launch.findings] == []
    arguments = {**dict(enumerate(tensors)), "causal": causal}
    (right,) = kernel_twins.expected(TWIN, arguments)
    assert_kernel_close(Z, right)
    for gradient, expected in zip(gradients, kernel_twins.expected_gradients(TWIN, arguments, [dZ]), strict=True):
        assert_kernel_close(gradient, expected)


@each_dtype
@each_mask
@pytest.mark.parametrize(("queries", "keys"), [(131, 70), (70, 131), (64, 64), (65, 33), (129, 129)])
def test_values_and_gradients_around_the_size_of_a_block(queries, keys, causal, dtype, rng):
    assert_values_and_gradients(draw(rng, dtype, heads=1, queries=queries, keys=keys), causal, rng)


@each_dtype
@each_mask
def test_the_widest_heads_still_fit(causal, dtype, rng):
    tensors = draw(rng, dtype, queries=37, keys=41, **LARGEST)
    assert_values_and_gradients(tensors, causal, rng)


@pytest.mark.parametrize(("d_k", "d_v"), [(129, 6), (3, 129), (0, 6), (3, 0)])
def test_heads_that_are_too_wide_or_empty_are_refused(d_k, d_v, rng):
    with pytest.raises(ValueError, match=f"expected d_k and d_v of 1 to 128, got {d_k} and {d_v}"):
        attention_forward(*draw(rng, d_k=d_k, d_v=d_v))


@each_mask
@pytest.mark.parametrize("size", [50.0, 1e3])
def test_scores_of_thousands_choose_one_key_and_keep_all_gradients_finite(size, causal, rng):
    Q, K, V = draw(rng, queries=41, keys=41)
    Q, K = (size * tensor.sign() for tensor in (Q, K))
    tensors = [tensor.requires_grad_() for tensor in (Q, K, V)]
    Z = attention_forward(*tensors, causal)
    (right,) = kernel_twins.expected(TWIN, {**dict(enumerate(tensors)), "causal": causal})
    assert_kernel_close(Z, right)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(Z.sum(), tensors))


def test_the_maximum_may_rise_from_block_to_block_or_fall(rng):
    Q, K, V = draw(rng, queries=9, keys=131)
    Q, K = torch.full_like(Q, 3.0), torch.linspace(-8, 8, 131, device=K.device)[:, None].expand_as(K)
    for keys in (K, K.flip(2)):
        (right,) = kernel_twins.expected(TWIN, {"Q": Q, "K": keys, "V": V, "causal": False})
        assert_kernel_close(attention_forward(Q, keys, V), right)


@interpreted
def test_a_causal_program_reads_no_keys_that_none_of_its_queries_may_see(rng):
    Q, K, V = draw(rng, heads=1, queries=128, keys=128)
    moved = {}
    for causal in (False, True):
        with checker.watch() as launches:
            attention(Q, K, V, causal)
        moved[causal] = sum(launch.moved for launch in launches)
    assert moved[False] - moved[True] == 4 * 64 * (3 + 6)  # half of the keys, for the first of two programs


@interpreted
def test_no_array_as_large_as_the_scores_is_ever_made(rng, monkeypatch):
    made, empty = [], torch.empty
    monkeypatch.setattr(torch, "empty", lambda size, **options: made.append(torch.Size(size)) or empty(size, **options))
    tensors = [tensor.requires_grad_() for tensor in draw(rng, heads=1, queries=70, keys=67)]
    attention_forward(*tensors).sum().backward()
    assert max(size.numel() for size in made) == 70 * 6 < 70 * 67


def test_an_empty_batch_gives_an_empty_result(rng):
    tensors = draw(rng)
    Q, K, V = (tensor[:0].requires_grad_() for tensor in tensors)
    Z = attention_forward(Q, K, V)
    assert Z.shape == (0, 2, 5, 6)
    assert [gradient.shape for gradient in torch.autograd.grad(Z.sum(), (Q, K, V))] == [Q.shape, K.shape, V.shape]


def test_other_layouts_give_the_same_as_contiguous_ones(rng):
    tensors = draw(rng)
    turned = [tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in tensors]
    assert torch.equal(attention_forward(*turned), attention_forward(*tensors))


def test_no_gradient_is_prepared_where_none_is_wanted(rng):
    tensors = draw(rng)
    assert not attention_forward(*tensors).requires_grad
    tensors[1].requires_grad_()
    assert attention_forward(*tensors).requires_grad
    with torch.no_grad():
        assert not attention_forward(*tensors).requires_grad


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, lambda Q: Q.numpy(force=True), "expected Q to be a torch tensor, got ndarray"),
        (0, lambda Q: Q[0], r"expected Q of \(batch, heads, queries, d_k\) .*, got \(2, 5, 3\)"),
        (0, lambda Q: Q.double(), "expected Q of dtype torch.float32 or torch.float16.*, got torch.float64"),
        (1, lambda K: K.mT, r"expected K of \(1, 2, 3, 3\) .*, got \(1, 2, 3, 7\)"),
        (2, lambda V: V[:, :, :5], r"expected V of \(1, 2, 7, 6\) .*, got \(1, 2, 5, 6\)"),
        (2, lambda V: V.half(), r"expected V of .* torch.float32 .*, got \(1, 2, 7, 6\) torch.float16"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(index, change, message, rng):
    tensors = draw(rng)
    tensors[index] = change(tensors[index])
    with pytest.raises(ValueError, match=message):
        attention_forward(*tensors)


def test_no_key_is_refused(rng):
    Q, K, V = draw(rng)
    with pytest.raises(ValueError, match=r"expected at least one key, got K of \(1, 2, 0, 3\)"):
        attention_forward(Q, K[:, :, :0], V[:, :, :0])


@pytest.mark.skipif(not INTERPRETED, reason="a GPU computes with bfloat16")
def test_bfloat16_is_refused_where_the_interpreter_would_get_it_wrong(rng):
    with pytest.raises(ValueError, match=r"got torch\.bfloat16"):
        attention_forward(*draw(rng, torch.bfloat16))


# At the widths of heads that are in use, which the table of machine code leaves out


@interpreted
@pytest.mark.parametrize(("width", "causal"), [(64, False), (128, True)])
def test_wide_heads_compile_without_spills_and_run_on_tensor_cores(width, causal):
    if reason := ahead_of_time.why_not():
        pytest.skip(reason)
    jobs = []
    for dtype in (torch.float32, torch.float16):
        with ahead_of_time.recording() as launches:
            tensors = [torch.zeros(1, 1, 128, width, dtype=dtype, requires_grad=True) for _ in range(3)]
            attention_forward(*tensors, causal).sum().backward()
        jobs += [
            launch | {"gpu": gpu, "variant": f"{gpu} {dtype}"} for launch in launches for gpu in ahead_of_time.GPUS
        ]
    compiled = {name: variants for name, variants in ahead_of_time.compile_all(jobs).items() if variants}
    assert len(compiled) == 4
    assert {len(variants) for variants in compiled.values()} == {4}
    for name, variants in compiled.items():
        for variant, code in variants.items():
            instruction = "wgmma" if variant.startswith("sm_90") else "mma"
            assert code["stack"] == 0, (name, variant)
            assert code[instruction] >= code["dots"], (name, variant)


# What the grader takes the kernel for


@pytest.mark.parametrize("label", [*KERNEL.draws, *KERNEL.edges])
def test_the_walk_over_the_keys_gives_attention(label, rng):
    inputs = {**KERNEL.draws, **KERNEL.edges}[label](rng)
    assert_close(walk_over_keys(**inputs), TWIN.forward(**inputs)[0])


SLIPS = {
    "padding of zeros": [("(at[None, :] < keys) & ((at[None", "((at[None")],
    "not scaled": [(' input_precision="tf32") * scale', ' input_precision="tf32")')],
    "no mask": [
        ("| (not CAUSAL)", "| (at[None, :] >= 0)"),
        ("end = tl.minimum(keys, first + BLOCK_Q) if CAUSAL else keys", "end = keys"),
    ],
    "blocks masked, lanes not": [("| (not CAUSAL)", "| (at[None, :] >= 0)")],
    "a row of minus infinity": [("at[None, :] <= rows", "at[None, :] < rows")],
    "masked by multiplying": [
        ('S = tl.where(seen, S, float("-inf"))', 'S = S + (1.0 - seen.to(tl.float32)) * float("-inf")')
    ],
    "masked with 0": [('S = tl.where(seen, S, float("-inf"))', "S = tl.where(seen, S, 0.0)")],
    "accumulator not rescaled": [("V, Z * rescale,", "V, Z,")],
    "total not rescaled": [("total * rescale +", "total +")],
    "no maximum": [("tl.maximum(top, tl.max(S, axis=1)[:, None])", "0.0 * top")],
    "not divided": [("Z / total, mask", "Z, mask")],
    "first block only": [("range(0, end, BLOCK_T)", "range(0, BLOCK_T, BLOCK_T)")],
}


@interpreted
@pytest.mark.filterwarnings("ignore:All-NaN slice")  # as in a notebook
@pytest.mark.parametrize("mistake", [None, *SLIPS])
def test_a_slip_in_the_source_of_the_kernel_is_named_as_its_twin_in_numpy(mistake, tmp_path):
    answer = submitted("attention_kernel", ["attention"], SLIPS.get(mistake, []), tmp_path)
    for seed in (0, 1):
        verdict = verdict_on(KERNEL, 7.0, answer, seed)
        assert (verdict.points == verdict.out_of) == (mistake is None), verdict
        assert verdict.mistake == (KERNEL.mistakes[mistake].message if mistake else ""), verdict
