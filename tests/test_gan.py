"""The game in NumPy and in torch: against torch, against its definitions, and where training must lead."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from autograder import check, compose, question, stubs
from autograder.judge import judge
from solutions import gan, gan_torch
from solutions.activations import sigmoid
from solutions.losses import bce_with_logits_backward, bce_with_logits_forward
from tests.tolerances import assert_close

ALPHAS = [0.7, 0.9, 1.0]
KINDS = ["saturating", "non-saturating"]
ORDERS = ["simultaneous", "alternating"]


def bce(logits, target):
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def distributions(rng, bins=7):
    """Two distributions; each has a bin of its own, and one bin is empty in both."""
    p, q = rng.dirichlet(np.ones(bins), 2)
    p[0] = q[1] = p[2] = q[2] = 0
    return p / p.sum(), q / q.sum()


# The losses


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_the_discriminators_loss_is_two_cross_entropies_of_torch(alpha, scale, rng):
    real, fake = scale * rng.standard_normal(5), scale * rng.standard_normal(7)
    real_, fake_ = torch.tensor(real, requires_grad=True), torch.tensor(fake, requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, cache = gan.discriminator_loss_forward(real, fake, alpha)
        gradients = gan.discriminator_loss_backward(np.asarray(-1.7), cache)
    expected = bce(real_, alpha) + bce(fake_, 0.0)
    (-1.7 * expected).backward()
    assert_close(loss, expected.detach().numpy())
    assert_close(gradients[0], real_.grad.numpy())
    assert_close(gradients[1], fake_.grad.numpy())
    twin = gan_torch.discriminator_loss_forward(torch.tensor(real), torch.tensor(fake), alpha)
    assert_close(twin.numpy(), loss)


def test_the_discriminators_loss_is_made_of_the_losses_of_the_chapter_on_them(rng):
    real, fake = rng.standard_normal(5), rng.standard_normal(7)
    loss, cache = gan.discriminator_loss_forward(real, fake, 0.8)
    one, cache_real = bce_with_logits_forward(real[:, None], np.full((5, 1), 0.8))
    other, cache_fake = bce_with_logits_forward(fake[:, None], np.zeros((7, 1)))
    assert_close(loss, one + other)
    dreal, dfake = gan.discriminator_loss_backward(np.asarray(1.0), cache)
    assert_close(dreal[:, None], bce_with_logits_backward(np.asarray(1.0), cache_real)[0])
    assert_close(dfake[:, None], bce_with_logits_backward(np.asarray(1.0), cache_fake)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_the_generators_loss_equals_torch_by_the_trick_of_labels(kind, scale, rng):
    """The non-saturating loss is a cross-entropy to the label 1, the saturating one minus that to the label 0."""
    fake = scale * rng.standard_normal(7)
    fake_ = torch.tensor(fake, requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, cache = gan.generator_loss_forward(fake, kind)
        dfake = gan.generator_loss_backward(np.asarray(0.6), cache)
    expected = bce(fake_, 1.0) if kind == "non-saturating" else -bce(fake_, 0.0)
    (0.6 * expected).backward()
    assert_close(loss, expected.detach().numpy())
    assert_close(dfake, fake_.grad.numpy())
    assert_close(gan_torch.generator_loss_forward(torch.tensor(fake), kind).numpy(), loss)


def test_where_the_discriminator_is_sure_only_the_non_saturating_loss_pushes():
    slopes = {}
    for kind in KINDS:
        _, cache = gan.generator_loss_forward(np.array([-10.0]), kind)
        slopes[kind] = -gan.generator_loss_backward(np.asarray(1.0), cache)[0]
    assert slopes["saturating"] == pytest.approx(1 / (1 + math.exp(10)))
    assert slopes["non-saturating"] == pytest.approx(1 / (1 + math.exp(-10)))


# The game on paper


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.9, 0.0), (0.9, 0.1)])
def test_no_other_discriminator_is_better_than_the_optimal_one(alpha, beta, rng):
    p, q = distributions(rng)
    best = gan.optimal_discriminator(p, q, alpha, beta)

    def loss(d):
        of_data = alpha * np.log(d) + (1 - alpha) * np.log1p(-d)
        of_fakes = beta * np.log(d) + (1 - beta) * np.log1p(-d)
        return -(p * of_data + q * of_fakes).sum()

    inside = np.clip(best, 1e-9, 1 - 1e-9)
    for _ in range(20):
        other = np.clip(inside + 0.05 * rng.standard_normal(len(p)), 1e-9, 1 - 1e-9)
        other[p + q == 0] = 0.5
        assert loss(inside) < loss(other)
    assert best[p + q == 0] == pytest.approx(0.5)


def test_one_sided_smoothing_scales_the_optimum_and_a_second_label_bends_it(rng):
    p, q = distributions(rng)
    plain, some = gan.optimal_discriminator(p, q), p + q > 0
    assert_close(gan.optimal_discriminator(p, q, 0.9)[some], 0.9 * plain[some])
    both = gan.optimal_discriminator(p, q, 0.9, 0.1)
    only_fakes = (p == 0) & (q > 0)
    assert_close(both[only_fakes], np.full(only_fakes.sum(), 0.1))
    assert not np.allclose(both[some], 0.9 * plain[some])


def test_the_value_at_the_optimum_is_twice_the_divergence_minus_log_4(rng):
    p, q = distributions(rng)
    best = gan.optimal_discriminator(p, q)
    value = (p[p > 0] * np.log(best[p > 0])).sum() + (q[q > 0] * np.log1p(-best[q > 0])).sum()
    assert_close(value, 2 * gan.jensen_shannon(p, q) - math.log(4))


def test_the_logits_of_the_optimum_give_that_value_as_a_loss(rng):
    """On a sample that has every bin as often as its probability says, the loss of D is minus the value."""
    counts = rng.integers(1, 9, (2, 5))
    p, q = counts / counts.sum(axis=1, keepdims=True)
    d = gan.optimal_discriminator(p, q)
    logit = np.log(d) - np.log1p(-d)
    real, fake = (np.repeat(logit, count) for count in counts)
    loss, _ = gan.discriminator_loss_forward(real, fake, 1.0)
    assert_close(loss, math.log(4) - 2 * gan.jensen_shannon(p, q))


def test_the_divergence_is_symmetric_and_runs_from_0_to_log_2(rng):
    p, q = distributions(rng)
    assert_close(gan.jensen_shannon(p, q), gan.jensen_shannon(q, p))
    assert gan.jensen_shannon(p, p) == 0
    apart = np.array([0.25, 0.75, 0, 0]), np.array([0, 0, 0.5, 0.5])
    assert_close(gan.jensen_shannon(*apart), np.asarray(math.log(2)))
    middle = (p + q) / 2
    terms = [functional.kl_div(torch.tensor(middle).log(), torch.tensor(a), reduction="sum") for a in (p + 0, q + 0)]
    expected = sum(term.nan_to_num().item() for term in terms) / 2
    some = middle > 0
    by_torch = sum(
        functional.kl_div(torch.tensor(middle[some]).log(), torch.tensor(a[some]), reduction="sum").item()
        for a in (p, q)
    )
    assert_close(gan.jensen_shannon(p, q), np.asarray(by_torch / 2))
    assert expected <= by_torch  # where nothing ever comes, torch has 0 times minus infinity


@pytest.mark.parametrize("lr", [0.05, 0.3])
def test_by_simultaneous_steps_the_radius_grows_by_the_root_of_1_plus_the_rate_squared(lr, rng):
    path = gan.bilinear_game(rng.standard_normal(2), lr, 23, "simultaneous")
    radius = np.hypot(*path.T)
    assert_close(radius[1:] / radius[:-1], np.full(23, math.sqrt(1 + lr**2)))


@pytest.mark.parametrize("lr", [0.05, 0.3, 1.9])
def test_by_alternating_steps_the_place_stays_on_an_ellipse(lr, rng):
    x, y = gan.bilinear_game(rng.standard_normal(2), lr, 23, "alternating").T
    invariant = x**2 + y**2 - lr * x * y
    assert_close(invariant, np.full(24, invariant[0]))


@pytest.mark.parametrize("order", ORDERS)
def test_the_bilinear_game_equals_plain_gradient_descent_of_torch(order, rng):
    start, lr = rng.standard_normal(2), 0.3
    x, y = (torch.tensor(value, requires_grad=True) for value in start)
    players = torch.optim.SGD([x], lr), torch.optim.SGD([y], lr, maximize=True)
    path = [start]
    for _ in range(5):
        for player in players:
            player.zero_grad()
        (x * y).backward()
        players[0].step()
        if order == "alternating":
            y.grad = None
            (x.detach() * y).backward()
        players[1].step()
        path.append(np.array([x.item(), y.item()]))
    assert_close(gan.bilinear_game(start, lr, 5, order), np.array(path))


def test_a_game_without_steps_is_its_start(rng):
    start = rng.standard_normal(2)
    assert np.array_equal(gan.bilinear_game(start, 0.1, 0, "alternating"), start[None])


# The game in one dimension


class Affine(torch.nn.Module):
    def __init__(self, theta):
        super().__init__()
        self.theta = torch.nn.Parameter(torch.tensor(theta))

    def forward(self, z):
        return self.theta[0] + self.theta[1] * z


class Quadratic(torch.nn.Module):
    def __init__(self, phi):
        super().__init__()
        self.phi = torch.nn.Parameter(torch.tensor(phi))

    def forward(self, x):
        return (self.phi[0] + self.phi[1] * x + self.phi[2] * x**2)[:, 0]


def test_a_step_equals_the_step_of_torch_with_plain_gradient_descent(rng):
    theta, phi = rng.standard_normal(2), rng.standard_normal(3)
    real, z = rng.standard_normal(5), rng.standard_normal((2, 5))
    models = Affine(theta), Quadratic(phi)
    optimizers = tuple(torch.optim.SGD(model.parameters(), 0.3) for model in models)
    columns = torch.tensor(real)[:, None], torch.tensor(z)[:, :, None]
    gan_torch.train_step(*models, optimizers, *columns, alpha=0.8)
    came = gan.gan_step(theta, phi, real, z, 0.3, 0.8)
    assert_close(came[0], models[0].theta.detach().numpy())
    assert_close(came[1], models[1].phi.detach().numpy())


def test_a_step_leaves_its_arguments_as_they_were(rng):
    arguments = rng.standard_normal(2), rng.standard_normal(3), rng.standard_normal(5), rng.standard_normal((2, 5))
    before = [argument.copy() for argument in arguments]
    gan.gan_step(*arguments, 0.3, 0.8)
    assert all(map(np.array_equal, arguments, before))


def test_the_logit_between_two_gaussians_is_quadratic(rng):
    """So the family of discriminators has the optimal one in it."""
    x, (m, s), (b, a) = rng.standard_normal(9), (1.3, 0.7), (-0.4, 1.1)
    logit = np.log(a / s) - ((x - m) / s) ** 2 / 2 + ((x - b) / a) ** 2 / 2
    phi = np.linalg.lstsq(gan.discriminator_features(x), logit, rcond=None)[0]
    assert_close(gan.discriminator_features(x) @ phi, logit)


@pytest.mark.parametrize("seed", range(20))
def test_training_finds_mean_and_standard_deviation_of_the_data(seed):
    rng = np.random.default_rng(seed)
    mean, std = rng.choice([-1, 1]) * rng.uniform(0.6, 1.2), rng.uniform(0.5, 0.7)
    real, z = mean + std * rng.standard_normal((80, 10, 37)), rng.standard_normal((80, 11, 37))
    came = gan.train_gaussian(np.array([0.0, 1.0]), real, z, np.array([0.3, 0.06]))
    assert abs(came[0] - mean) < 0.15
    assert abs(came[1] - std) < 0.15


def test_training_of_one_step_a_round_is_the_step_without_smoothing(rng):
    theta, lr = rng.standard_normal(2), 0.3
    real, z = rng.standard_normal((4, 1, 5)), rng.standard_normal((4, 2, 5))
    came = gan.train_gaussian(theta, real, z, np.array([lr, lr]))
    phi = np.zeros(3)
    for data, noise in zip(real, z, strict=True):
        theta, phi = gan.gan_step(theta, phi, data[0], noise, lr, 1.0)
    assert_close(np.array(came), theta)


# The step in torch


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return gan_torch.Generator(3, 7, 2), gan_torch.Discriminator(2, 5)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("kind", KINDS)
def test_each_half_of_a_step_changes_its_own_player_only(networks, kind):
    generator, discriminator = networks
    before = weights(generator), weights(discriminator)
    for moves in (0, 1):
        rates = [0.1 if player == moves else 0.0 for player in (0, 1)]
        optimizers = tuple(torch.optim.SGD(model.parameters(), r) for model, r in zip(networks, rates, strict=True))
        gan_torch.train_step(*networks, optimizers, torch.randn(6, 2), torch.randn(2, 6, 3), kind=kind)
        changed = [not torch.equal(weights(model), old) for model, old in zip(networks, before, strict=True)]
        assert changed == [moves == 0, moves == 1]
        before = weights(generator), weights(discriminator)


def test_no_gradient_reaches_the_generator_from_the_discriminators_loss(networks):
    generator, discriminator = networks
    seen = []
    of_discriminator = torch.optim.SGD(discriminator.parameters(), 0.1)
    of_discriminator.register_step_pre_hook(
        lambda *_: seen.extend(parameter.grad for parameter in generator.parameters())
    )
    optimizers = torch.optim.SGD(generator.parameters(), 0.1), of_discriminator
    gan_torch.train_step(generator, discriminator, optimizers, torch.randn(6, 2), torch.randn(2, 6, 3))
    assert seen == [None] * 6


def test_networks_map_rows_to_rows_and_to_logits(networks):
    generator, discriminator = networks
    fakes = generator(torch.randn(6, 3))
    assert fakes.shape == (6, 2)
    assert discriminator(fakes).shape == (6,)


# What samples tell


def ring(modes=8, radius=2.0):
    angle = 2 * np.pi * np.arange(modes) / modes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def around(centers, rng, count=400, std=0.1):
    return centers[rng.integers(len(centers), size=count)] + std * rng.standard_normal((count, 2))


def test_shares_of_the_modes_are_counted_within_the_radius():
    samples = np.array([[2.0, 0], [2.2, 0], [2.4, 0], [0, -2], [0, 0]])
    shares = gan.mode_shares(samples, ring(4), 0.3)
    assert_close(shares, np.array([0.4, 0, 0, 0.2]))


def test_samples_tell_what_went_wrong(rng):
    centers = ring()
    runs = {
        "fine": around(centers, rng),
        "two modes": around(centers[:2], rng),
        "five modes": around(centers[:5], rng),
        "never moved": 0.1 * rng.uniform(-1, 1, (400, 2)),
        "blurred": around(centers, rng, std=0.35),
    }
    causes = gan.explain_samples(np.array(list(runs.values())), centers, 0.3)
    assert dict(zip(runs, causes.tolist(), strict=True)) == {
        "fine": 0, "two modes": 1, "five modes": 1, "never moved": 2, "blurred": 3,
    }  # fmt: skip


# What does not fit


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gan.discriminator_loss_forward(np.zeros(3), np.zeros(0)), "at least one logit in fake, got none"),
        (lambda: gan.discriminator_loss_forward(np.zeros(0), np.zeros(3)), "at least one logit in real, got none"),
        (lambda: gan.discriminator_loss_forward(np.zeros(3), np.zeros(5), 1.1), "at most 1, got 1.1"),
        (lambda: gan.discriminator_loss_forward(np.zeros(3), np.zeros(5), 0.0), "above 0 and at most 1, got 0"),
        (lambda: gan.generator_loss_forward(np.zeros(0)), "at least one logit in fake, got none"),
        (lambda: gan.jensen_shannon(np.array([0.5, 0.6]), np.array([0.5, 0.5])), "p of at least 0 with the sum 1"),
        (lambda: gan.jensen_shannon(np.array([0.5, 0.5]), np.array([1.5, -0.5])), "got -0.5 or more with the sum 1"),
        (lambda: gan_torch.generator_loss_forward(torch.zeros(3), "least squares"), "got 'least squares'"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_both_kinds_meet_where_the_discriminator_knows_nothing():
    slopes = [
        gan.generator_loss_backward(np.asarray(1.0), gan.generator_loss_forward(np.zeros(3), kind)[1]) for kind in KINDS
    ]
    assert_close(slopes[0], slopes[1])
    assert_close(slopes[0], -sigmoid(np.zeros(3)) / 3)


# What a student's notebook makes of it


@pytest.fixture(scope="module")
def notebook():
    """The names that the cells of the solved notebook define: given functions and answers, and nothing else."""
    parts = [part for part in compose.parse("gan") if not isinstance(part, str)]
    parts = [part for part in parts if stubs.find(part.name).file.parent == stubs.SOLUTIONS]
    names = {"np": np}
    for part in parts:
        exec(stubs.whole(part.name) if isinstance(part, compose.Given) else stubs.solved(part.name), names)
    return names


@pytest.mark.parametrize("asked", [q for q in question.of_block("gan").values() if not q.tensors], ids=lambda q: q.name)
def test_the_cells_of_the_solved_notebook_get_full_marks_by_themselves(asked, notebook):
    def ask(call):
        with np.errstate(all="ignore"):
            return check.perform(notebook, call)

    for seed in range(10):  # of training too, whose question knows only where it must lead
        verdict = judge(asked, 4.0, seed, ask)
        assert verdict.points == verdict.out_of, verdict
