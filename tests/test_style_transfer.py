"""Style transfer in NumPy and torch: Gram matrices, losses, textures, weights from a file."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from autograder.questions.style_transfer import SYNTHESIZE
from solutions import style_transfer as style
from solutions import style_transfer_torch as twins
from tests.tolerances import assert_close

SHAPE = 3, 5, 77  # batch, channels, positions
OF_IMAGE = 2, 3, 7, 11
WIDTH = 3  # of a small VGG-19


def compare(forward, backward, twin, arguments, rng):
    """Compare a layer and its gradients with those of its twin in torch."""
    out, cache = forward(*arguments)
    tensors = [torch.tensor(array, requires_grad=True) for array in arguments]
    right = twin(*tensors)
    assert_close(out, right.detach().numpy())
    upstream = np.asarray(rng.standard_normal(np.shape(out)))
    came = backward(upstream, cache)
    expected = torch.autograd.grad(right, tensors, torch.from_numpy(upstream))
    for gradient, one in zip(came if isinstance(came, tuple) else (came,), expected, strict=True):
        assert_close(gradient, one.numpy())


# Gram matrices


@pytest.mark.parametrize("normalize", ["positions", "all", "none"])
def test_the_gram_matrix_and_its_gradient_equal_those_of_torch(normalize, rng):
    compare(
        lambda F: style.gram_forward(F, normalize),
        style.gram_backward,
        lambda F: twins.gram_forward(F, normalize),
        [rng.standard_normal(SHAPE)],
        rng,
    )


def test_a_gram_matrix_is_a_sum_of_outer_products_over_the_positions(rng):
    F = rng.standard_normal(SHAPE)
    right = sum(F[:, :, p, None] * F[:, None, :, p] for p in range(SHAPE[2]))
    assert_close(style.gram_forward(F, "none")[0], right)


def test_a_gram_matrix_is_symmetric_and_positive_semidefinite(rng):
    G, _ = style.gram_forward(rng.standard_normal((2, 7, 5)), "none")  # of rank 5
    assert_close(G, G.swapaxes(1, 2))
    eigenvalues = np.linalg.eigvalsh(G)
    assert eigenvalues.min() > -1e-12 * eigenvalues.max()
    assert (eigenvalues[:, :2] < 1e-12 * eigenvalues.max()).all()


def test_conventions_differ_by_the_number_of_positions_and_of_channels(rng):
    F = rng.standard_normal(SHAPE)
    plain, positions, every = (style.gram_forward(F, n)[0] for n in ("none", "positions", "all"))
    assert_close(plain, SHAPE[2] * positions)
    assert_close(positions, SHAPE[1] * every)


@pytest.mark.parametrize(("op", "blind"), [("shuffle", True), ("flip", True), ("crop", False), ("swap", False)])
def test_a_gram_matrix_is_blind_to_where_and_not_to_what(op, blind, rng):
    F = rng.standard_normal((3, 5, 6))
    assert style.gram_is_blind_to(op, F, rng.permutation(30)) == blind


def test_a_gram_matrix_sees_when_channels_are_shuffled_apart(rng):
    F = rng.standard_normal((1, 3, 55))
    apart = rng.permuted(F, axis=2)  # each channel in an order of its own
    assert not np.allclose(style.gram_forward(F)[0], style.gram_forward(apart)[0])


def test_how_a_gram_matrix_came_about_is_read_off_its_numbers(rng):
    F = rng.standard_normal((5, 3, 35)) + 0.5
    centered = F - F.mean(axis=2, keepdims=True)
    made = [style.gram_forward(F[k : k + 1], n)[0][0] for k, n in enumerate(("none", "positions", "all"))]
    made += [made_twice := style.gram_forward(F[3:4], "all")[0][0] / (3 * 35)]
    made += [style.gram_forward(centered[4:5])[0][0]]
    assert made_twice.shape == (3, 3)
    assert style.explain_gram(F, np.array(made)).tolist() == [0, 1, 2, 3, 4]


# Losses


def test_the_style_loss_and_its_gradients_equal_those_of_torch(rng):
    arguments = rng.standard_normal(SHAPE), rng.standard_normal((5, 5))
    compare(style.style_loss_forward, style.style_loss_backward, twins.style_loss_forward, arguments, rng)


def test_the_style_loss_is_that_of_gatys_where_both_images_have_the_same_size(rng):
    F, S = rng.standard_normal((2, 1, 5, 77))
    plain, target = F[0] @ F[0].T, S[0] @ S[0].T
    gatys = ((plain - target) ** 2).sum() / (4 * 5**2 * 77**2)
    assert_close(style.style_loss_forward(F, target / 77)[0], np.asarray(gatys))


def test_the_content_loss_and_its_gradients_equal_those_of_torch(rng):
    arguments = rng.standard_normal((2, *SHAPE))
    compare(style.content_loss_forward, style.content_loss_backward, twins.content_loss_forward, arguments, rng)
    half = functional.mse_loss(*map(torch.tensor, arguments), reduction="sum") / 2
    assert_close(style.content_loss_forward(*arguments)[0], half.numpy())


def test_the_total_variation_and_its_gradient_equal_those_of_torch(rng):
    compare(style.tv_loss_forward, style.tv_loss_backward, twins.tv_loss_forward, [rng.standard_normal(OF_IMAGE)], rng)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 1, 5), (2, 1, 6, 1)])
def test_an_image_of_one_row_or_column_has_differences_in_the_other_direction_only(shape, rng):
    x = rng.standard_normal(shape)
    loss, cache = style.tv_loss_forward(x)
    line = x.reshape(*shape[:2], -1)
    assert_close(loss, np.asarray((np.diff(line) ** 2).sum()))
    assert style.tv_loss_backward(np.array(1.0), cache).shape == shape


def test_adain_gives_the_means_and_deviations_of_the_style(rng):
    F, S = 3 + 2 * rng.standard_normal(SHAPE), rng.standard_normal((3, 5, 35)) - 1
    out = style.adain(F, S, eps=0.0)
    assert_close(out.mean(axis=2), S.mean(axis=2))
    assert_close(out.std(axis=2), S.std(axis=2))


def test_adain_is_instance_normalization_with_the_numbers_of_the_style(rng):
    F, S = rng.standard_normal((2, *SHAPE))
    normed = functional.instance_norm(torch.tensor(F), eps=1e-5).numpy()
    std = np.sqrt(S.var(axis=2, keepdims=True) + 1e-5)
    assert_close(style.adain(F, S), std * normed + S.mean(axis=2, keepdims=True))


def test_gradients_are_combined_in_the_ratio_of_their_lengths(rng):
    dcontent, dstyle = 100 * rng.standard_normal((3, 5)), 1e-3 * rng.standard_normal((3, 5))
    alpha, beta, dx = style.combine(dcontent, dstyle, 7.0)
    lengths = np.array([np.linalg.norm(alpha * dcontent), np.linalg.norm(beta * dstyle)])
    assert_close(lengths, np.array([1.0, 7.0]))
    assert_close(dx, alpha * dcontent + beta * dstyle)


# Textures


def test_ring_filters_are_a_convolution_whose_margin_comes_from_the_other_side(rng):
    x, W = rng.standard_normal((9, 11)), rng.standard_normal((5, 3, 2))
    F, _ = style.ring_filters_forward(x, W)
    padded = functional.pad(torch.tensor(x)[None, None], (0, 1, 0, 2), mode="circular")
    right = functional.conv2d(padded, torch.tensor(W)[:, None]).relu()
    assert_close(F, right.flatten(2)[0].numpy())


def test_a_step_of_the_synthesis_goes_along_the_gradient_of_the_style_loss(rng):
    x, W, A = rng.standard_normal((7, 6)), rng.standard_normal((3, 2, 2)), rng.standard_normal((3, 3))
    A = A + A.T
    F, ring = style.ring_filters_forward(x, W)
    loss, cache = style.style_loss_forward(F[None], A)
    dx, _ = style.ring_filters_backward(style.style_loss_backward(np.array(1.0), cache)[0][0], ring)
    after, losses = style.synthesize(x, W, A, 1)
    assert_close(after, x - 2 * loss / (dx**2).sum() * dx)
    assert_close(losses, np.array([loss]))


def texture_and_filters(rng):
    """A texture of columns, and filters at right angles to each other, of length 1."""
    texture = np.sin(np.arange(12) * np.pi / 2) + 0.3 * rng.standard_normal((13, 12))
    W = np.linalg.qr(rng.standard_normal((9, 3)))[0].T.reshape(3, 3, 3)
    return texture, W


def test_synthesis_makes_another_image_with_the_same_gram_matrix(rng):
    texture, W = texture_and_filters(rng)
    F, _ = style.ring_filters_forward(texture, W)
    A = style.gram_forward(F[None])[0][0]
    x, losses = style.synthesize(rng.standard_normal((13, 12)) / 2, W, A, 150)
    assert losses[-1] < losses[0] / 1000
    assert np.abs(x - texture).mean() > 0.3


def test_synthesis_stays_where_it_has_arrived(rng):
    texture, W = texture_and_filters(rng)
    F, _ = style.ring_filters_forward(0 * texture, W)
    x, losses = style.synthesize(0 * texture, W, F @ F.T, 3)
    assert not x.any()
    assert not losses.any()


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: inspect.unwrap(style.gram_forward)(np.ones((1, 2, 3)), "width"),
            "expected normalize out of positions, all, none",
        ),
        (lambda: style.gram_forward(np.ones((1, 2, 0))), r"some features, got 'positions' and shape \(1, 2, 0\)"),
        (lambda: style.combine(np.zeros(3), np.ones(3), 1.0), r"longer than 0, got lengths \[0\.0, "),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# In torch


def small_weights(width=WIDTH, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) / max(1, np.prod(shape[1:])) ** 0.5
        for name, shape in twins.vgg19_shapes(width).items()
    }


def sequential(weights, pool):
    """The convolutions of VGG-19 as torchvision builds them, layer by layer: what its names stand for."""
    layers: list[nn.Module] = []
    c_in = 3
    for block, times in enumerate((1, 2, 4, 8, 8)):
        for _ in range(2 if block < 2 else 4):
            layers += [nn.Conv2d(c_in, times * WIDTH, 3, padding=1), nn.ReLU()]
            c_in = times * WIDTH
        layers.append(pool(2, 2))
    model = nn.Sequential(*layers)
    model.load_state_dict({name.removeprefix("features."): tensor for name, tensor in weights.items()})
    return model


@pytest.mark.parametrize(("pool", "module"), [("max", nn.MaxPool2d), ("average", nn.AvgPool2d)])
def test_vgg19_equals_the_stack_that_torchvision_builds(pool, module, rng):
    weights = small_weights()
    x = torch.tensor(rng.random((2, 3, 33, 35)), dtype=torch.float32)
    maps = twins.VGG19(weights, ("conv1_1", "conv3_4", "conv4_2", "conv5_4"), pool)(x)
    stack = sequential(weights, module)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    y = (x - mean[:, None, None]) / std[:, None, None]
    right = {}
    with torch.no_grad():
        for number, layer in enumerate(stack):
            y = layer(y)
            right[number] = y
    for found, number in zip(maps, (1, 17, 22, 35), strict=True):  # behind the ReLU of each
        assert_close(found.numpy(), right[number].numpy())


def test_vgg19_of_the_usual_width_has_the_parameters_of_the_paper():
    """Simonyan and Zisserman count 144 million with the classifier, whose three linear layers are these."""
    convolutions = sum(int(np.prod(shape)) for shape in twins.vgg19_shapes().values())
    classifier = (512 * 7 * 7 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert round((convolutions + classifier) / 1e6) == 144


def test_weights_are_read_from_a_file_with_or_without_the_classifier(tmp_path):
    weights = small_weights()
    torch.save(weights | {"classifier.0.weight": torch.ones(3, 5)}, tmp_path / "vgg19.pth")
    read = twins.load_vgg19(tmp_path / "vgg19.pth", WIDTH)
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)


def changed(name, value):
    weights = small_weights()
    if value is None:
        del weights[name]
        return weights
    return weights | {name: value}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: [1, 2], "expected a dict of weights, got list"),
        (lambda: {"conv1.weight": torch.ones(3)}, r"none by the name features\.0\.weight \(32 of 32 are missing\)"),
        (lambda: changed("features.34.bias", None), r"none by the name features\.34\.bias \(1 of 32 are missing\)"),
        (lambda: small_weights(5), r"expected features\.0\.weight of shape \(3, 3, 3, 3\), got \(5, 3, 3, 3\)"),
        (lambda: changed("features.2.bias", 7), r"expected features\.2\.bias of shape \(3,\), got \('int',\)"),
        (lambda: changed("features.2.bias", torch.ones(3, dtype=torch.int32)), "of floats, got torch.int32"),
    ],
)
def test_a_file_that_is_no_vgg19_is_refused_with_what_is_wrong(made, message, tmp_path):
    torch.save(made(), tmp_path / "file.pth")
    with pytest.raises(ValueError, match=message):
        twins.load_vgg19(tmp_path / "file.pth", WIDTH)


def test_a_layer_that_vgg19_has_not_is_refused():
    with pytest.raises(ValueError, match=r"conv1_1 to conv5_4, got \['conv1_3'\]"):
        twins.VGG19(small_weights(), ["conv1_1", "conv1_3"])


def test_random_filters_keep_the_size_of_the_image_and_see_its_brightness_in_the_colors_only(rng):
    net = twins.RandomFilters(torch.Generator().manual_seed(0), sizes=(3, 5), channels=7)
    x = torch.tensor(rng.random((2, 3, 17, 13)), dtype=torch.float32)
    maps = net(x)
    assert maps.shape == (2, 3 + 14, 17, 13)
    assert torch.equal(maps[:, :3], x)
    assert_close(net(x + 0.25)[:, 3:].numpy(), maps[:, 3:].numpy())


def test_the_pixels_are_optimized_and_the_best_image_is_returned(rng):
    net = twins.RandomFilters(torch.Generator().manual_seed(0), sizes=(3,), channels=5)
    style_image, x = torch.tensor(rng.random((2, 1, 13, 15, 3)), dtype=torch.float32).movedim(-1, 2)
    A = twins.gram_forward(net(style_image).flatten(2))[0]
    filters = [W.clone() for W in net.buffers()]

    def loss(pixels):
        return twins.style_loss_forward(net(pixels).flatten(2), A)

    before = x.clone()
    best, history = twins.optimize_pixels(x, loss, 60)
    assert min(history) < history[0] / 1000
    assert loss(best).item() == pytest.approx(min(history))
    assert torch.equal(x, before)
    assert all(torch.equal(W, old) for W, old in zip(net.buffers(), filters, strict=True))


def test_every_texture_that_students_get_falls_to_less_than_a_thousandth_unless_it_stops_early():
    for seed in range(20):
        for label, make in SYNTHESIZE.draws.items():
            inputs = make(np.random.default_rng(seed))
            _, losses = style.synthesize(*inputs.values())
            falls = 10 if label == "stopped early" else 1000
            assert losses[-1] < losses[0] / falls, (seed, label)
            assert inputs["steps"] == (20 if label == "stopped early" else 150)
