"""The variational autoencoder in NumPy and torch: against torch, against sampling, and what must hold anyway."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from torch import distributions
from torch.nn import functional

from autograder import check, question
from autograder.cases import draw
from autograder.judge import judge
from solutions import vae, vae_torch
from tests.tolerances import assert_close

LIKELIHOODS = ["bernoulli", "gaussian"]
STANDARD_ERRORS = 5  # a right estimate is further off once in two million draws


def leaves(*arrays):
    """The arrays as tensors that ask for their gradient."""
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def assert_all_close(came, expected):
    for ours, theirs in zip(came, expected, strict=True):
        assert ours.dtype == np.float64
        assert_close(ours, theirs.detach().numpy())


def autograd(outputs, arguments, upstream):
    """The gradients of sum(upstream * outputs) at the arguments."""
    return torch.autograd.grad(list(outputs), list(arguments), [torch.as_tensor(d) for d in upstream])


def posterior(rng, batch=5, latent=3):
    """Means and logarithms of variances, with standard deviations from about 0.3 to 3."""
    return rng.standard_normal((batch, latent)), rng.uniform(-2, 2, (batch, latent))


def pixels(rng, batch=5, count=7):
    """Logits, and pixels between 0 and 1 of which some are exactly 0 or 1."""
    return 2 * rng.standard_normal((batch, count)), np.round(rng.random((batch, count)) * 4) / 4


# Against torch


def test_the_divergence_and_its_gradients_equal_those_of_torch(rng):
    mu, logvar = posterior(rng)
    kl, cache = vae.kl_gaussian_forward(mu, logvar)
    mu_, logvar_ = leaves(mu, logvar)
    q = distributions.Normal(mu_, (logvar_ / 2).exp())
    kl_ = distributions.kl_divergence(q, distributions.Normal(0.0, 1.0)).sum(dim=1)
    assert_all_close([kl], [kl_])
    dkl = rng.standard_normal(5)
    assert_all_close(vae.kl_gaussian_backward(dkl, cache), autograd([kl_], [mu_, logvar_], [dkl]))


def test_a_sample_and_its_gradients_equal_those_of_autograd(rng):
    (mu, logvar), eps = posterior(rng), rng.standard_normal((5, 3))
    z, cache = vae.reparameterize_forward(mu, logvar, eps)
    tensors = leaves(mu, logvar, eps)
    z_ = vae_torch.reparameterize_forward(*tensors)
    assert_all_close([z], [z_])
    dz = rng.standard_normal(z.shape)
    assert_all_close(vae.reparameterize_backward(dz, cache), autograd([z_], tensors, [dz]))


def test_sample_and_divergence_together_equal_each_by_itself(rng):
    (mu, logvar), eps = posterior(rng), rng.standard_normal((5, 3))
    z, kl, cache = vae.reparameterize_kl_forward(mu, logvar, eps)
    assert_close(z, vae.reparameterize_forward(mu, logvar, eps)[0])
    assert_close(kl, vae.kl_gaussian_forward(mu, logvar)[0])
    tensors = leaves(mu, logvar, eps)
    outputs = vae_torch.reparameterize_forward(*tensors), vae_torch.kl_gaussian_forward(*tensors[:2])
    upstream = [rng.standard_normal(output.shape) for output in (z, kl)]
    assert_all_close(vae.reparameterize_kl_backward(*upstream, cache), autograd(outputs, tensors, upstream))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("beta", [1.0, 0.0, 4.0])
def test_the_loss_is_the_likelihood_and_the_divergence_as_torch_has_them(likelihood, beta, rng):
    arguments = *pixels(rng), *posterior(rng)
    loss, cache = vae.negative_elbo_forward(*arguments, likelihood, beta)
    decoded, x, mu, logvar = tensors = leaves(*arguments)
    if likelihood == "bernoulli":
        nll = functional.binary_cross_entropy_with_logits(decoded, x, reduction="none").sum(dim=1)
    else:
        nll = -distributions.Normal(decoded, 1.0).log_prob(x).sum(dim=1)
    q = distributions.Normal(mu, (logvar / 2).exp())
    loss_ = (nll + beta * distributions.kl_divergence(q, distributions.Normal(0.0, 1.0)).sum(dim=1)).mean()
    assert_all_close([loss], [loss_])
    assert_all_close(vae.negative_elbo_backward(np.array(0.7), cache), autograd([loss_], tensors, [np.array(0.7)]))
    assert_close(vae_torch.negative_elbo_forward(*tensors, likelihood, beta).detach().numpy(), loss)


def test_the_linear_vae_takes_the_steps_of_autograd(rng):
    inputs = draw(vae.train_linear_vae, rng) | {"rate": 0.2}
    inputs["x"] = pixels(rng, *inputs["x"].shape)[1]
    *came, losses = vae.train_linear_vae(**inputs)
    x, eps = torch.tensor(inputs["x"]), torch.tensor(inputs["eps"])
    W_mu, logvar, W_out, b_out = parameters = leaves(*list(inputs.values())[1:5])
    optimizer = torch.optim.SGD(parameters, lr=0.2)
    expected = []
    for noise in eps:
        mu = (x - x.mean(dim=0)) @ W_mu
        spread = logvar.expand_as(mu)
        decoded = vae_torch.reparameterize_forward(mu, spread, noise) @ W_out + b_out
        loss = vae_torch.negative_elbo_forward(decoded, x, mu, spread)
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert_close(losses, np.array(expected))
    assert_all_close(came, parameters)


# Against sampling


def test_the_divergence_is_what_samples_say(rng):
    mu, logvar = posterior(rng)
    estimate, error = vae.kl_monte_carlo(mu, logvar, rng.standard_normal((20_000, *mu.shape)))
    kl, _ = vae.kl_gaussian_forward(mu, logvar)
    assert (np.abs(estimate - kl) < STANDARD_ERRORS * error).all()
    assert (error < 0.1).all()


def test_an_estimate_is_the_mean_of_the_log_ratios_and_its_error_their_spread(rng):
    mu, logvar = posterior(rng)
    eps = rng.standard_normal((6, *mu.shape))
    mu_, sigma = torch.tensor(mu), torch.tensor(np.exp(logvar / 2))
    z = mu_ + sigma * torch.tensor(eps)
    ratio = distributions.Normal(mu_, sigma).log_prob(z) - distributions.Normal(0.0, 1.0).log_prob(z)
    estimate, error = vae.kl_monte_carlo(mu, logvar, eps)
    assert_close(estimate, ratio.sum(dim=2).mean(dim=0).numpy())
    assert_close(error, ratio.sum(dim=2).std(dim=0).numpy() / 6**0.5)


def gaussian_model(rng, latent=3, count=7):
    """x given z is N(z W, 1): log p(x) is known. Returns x, W and log p(x)."""
    W, x = rng.standard_normal((latent, count)), rng.standard_normal((1, count))
    evidence = distributions.MultivariateNormal(
        torch.zeros(count, dtype=torch.float64), torch.tensor(W.T @ W + np.eye(count))
    )
    return x, W, evidence.log_prob(torch.tensor(x)).numpy()


def log_likelihood(x, W, z):
    return distributions.Normal(torch.tensor(z @ W), 1.0).log_prob(torch.tensor(x)).sum(dim=-1).numpy()


def bounds(rng, samples, repeats=4000):
    """The bounds of many draws on the same x, with a posterior that is not the true one; and log p(x)."""
    x, W, evidence = gaussian_model(np.random.default_rng(3))
    mu, logvar = np.full((repeats, 3), 0.2), np.full((repeats, 3), -1.0)
    eps = rng.standard_normal((samples, repeats, 3))
    z = mu + np.exp(logvar / 2) * eps
    return vae.iwae_bound(log_likelihood(x, W, z), mu, logvar, eps), evidence


def test_more_samples_bring_the_bound_closer_to_the_evidence_and_not_beyond(rng):
    means, errors = [], []
    for samples in (1, 5, 50):
        came, evidence = bounds(rng, samples)
        means.append(came.mean())
        errors.append(came.std() / len(came) ** 0.5)
    assert means[0] + errors[0] < means[1] - errors[1]
    assert means[1] + errors[1] < means[2] - errors[2]
    assert means[2] < evidence[0] + STANDARD_ERRORS * errors[2]


def test_one_sample_gives_the_elbo_on_average(rng):
    came, _ = bounds(rng, 1)
    x, W, _ = gaussian_model(np.random.default_rng(3))
    z = 0.2 + np.exp(-0.5) * rng.standard_normal((20_000, 3))
    kl, _ = vae.kl_gaussian_forward(np.full((1, 3), 0.2), np.full((1, 3), -1.0))
    nll = log_likelihood(x, W, z)
    error = np.hypot(came.std() / len(came) ** 0.5, nll.std() / len(z) ** 0.5)
    assert abs(came.mean() - (nll.mean() - kl[0])) < STANDARD_ERRORS * error


def test_with_the_true_posterior_each_single_sample_gives_the_evidence(rng):
    """There the gap is 0, and the weight is the same for each z. One latent, so that q can be the posterior."""
    x, W, evidence = gaussian_model(rng, latent=1)
    precision = 1 + (W @ W.T)[0, 0]
    mu, logvar = x @ W.T / precision, np.full((1, 1), -np.log(precision))
    eps = rng.standard_normal((5, 1, 1))
    for noise in eps:
        z = mu + np.exp(logvar / 2) * noise[None]
        assert_close(vae.iwae_bound(log_likelihood(x, W, z), mu, logvar, noise[None]), evidence)


def test_huge_weights_neither_overflow_nor_vanish(rng):
    (mu, logvar), eps = posterior(rng), rng.standard_normal((6, 5, 3))
    log_px = rng.standard_normal((6, 5))
    with np.errstate(all="raise", under="ignore"):
        for shift in (-1e4, 1e4):
            came = vae.iwae_bound(log_px + shift, mu, logvar, eps)
            np.testing.assert_allclose(came - shift, vae.iwae_bound(log_px, mu, logvar, eps), rtol=1e-8)


def test_both_estimators_of_a_gradient_have_the_same_mean_and_not_the_same_spread(rng):
    """f(z) = |z - 2|^2, whose mean under q has a gradient that is known."""
    mu, logvar = np.array([0.5, -1.0, 0.3]), np.array([-1.0, 0.5, -2.0])
    eps = rng.standard_normal((40_000, 3))
    z = mu + np.exp(logvar / 2) * eps
    of_score = vae.score_function_gradient(((z - 2) ** 2).sum(axis=1), logvar, eps)
    wide = np.broadcast_to(mu, z.shape), np.broadcast_to(logvar, z.shape)
    _, cache = vae.reparameterize_forward(*wide, eps)
    of_path = vae.reparameterize_backward(2 * (z - 2), cache)[:2]
    right = 2 * (mu - 2), np.exp(logvar)
    for score, path, gradient in zip(of_score, of_path, right, strict=True):
        for estimates in (score, path):
            error = estimates.std(axis=0) / len(eps) ** 0.5
            assert (np.abs(estimates.mean(axis=0) - gradient) < STANDARD_ERRORS * error).all()
        assert (score.var(axis=0) > 3 * path.var(axis=0)).all()


# What must hold whatever the numbers are


def test_the_divergence_is_zero_at_the_prior_and_positive_elsewhere(rng):
    assert vae.kl_gaussian_forward(np.zeros((3, 5)), np.zeros((3, 5)))[0].tolist() == [0, 0, 0]
    for scale in (1e-3, 1.0, 10.0):
        kl, _ = vae.kl_gaussian_forward(*scale * rng.standard_normal((2, 7, 5)))
        assert (kl > 0).all()


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-7])
def test_near_the_prior_the_divergence_keeps_its_digits(size):
    """There it is logvar^2 / 4; the naive formula loses all digits."""
    kl, _ = vae.kl_gaussian_forward(np.zeros((1, 1)), np.full((1, 1), size))
    np.testing.assert_allclose(kl, size**2 / 4, rtol=max(size, 1e-2))


def test_the_gradients_of_the_divergence_vanish_at_the_prior():
    _, cache = vae.kl_gaussian_forward(np.zeros((3, 5)), np.zeros((3, 5)))
    for gradient in vae.kl_gaussian_backward(np.ones(3), cache):
        assert not gradient.any()


def test_each_row_has_its_own_divergence(rng):
    mu, logvar = posterior(rng)
    kl, _ = vae.kl_gaussian_forward(mu, logvar)
    for row in range(5):
        assert_close(vae.kl_gaussian_forward(mu[[row]], logvar[[row]])[0], kl[[row]])


def test_without_noise_the_sample_is_the_mean(rng):
    mu, logvar = posterior(rng)
    assert_close(vae.reparameterize_forward(mu, logvar, np.zeros_like(mu))[0], mu)


def test_samples_have_the_mean_and_the_variance_that_they_are_asked_for(rng):
    mu, logvar = (np.repeat(part, 20_000, axis=0) for part in posterior(rng, batch=1))
    z, _ = vae.reparameterize_forward(mu, logvar, rng.standard_normal(mu.shape))
    scale = np.exp(logvar[0] / 2) / 20_000**0.5
    assert (np.abs(z.mean(axis=0) - mu[0]) < STANDARD_ERRORS * scale).all()
    np.testing.assert_allclose(z.var(axis=0), np.exp(logvar[0]), rtol=STANDARD_ERRORS * (2 / 20_000) ** 0.5)


def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_rows(rng):
    arguments = *pixels(rng), *posterior(rng)
    rows = [vae.negative_elbo_forward(*(a[[row]] for a in arguments))[0] for row in range(5)]
    assert_close(vae.negative_elbo_forward(*arguments)[0], np.mean(rows))


def test_an_image_twice_as_large_costs_twice_the_likelihood_and_the_same_divergence(rng):
    (decoded, x), (mu, logvar) = pixels(rng), posterior(rng)
    kl = vae.kl_gaussian_forward(mu, logvar)[0].mean()
    once = vae.negative_elbo_forward(decoded, x, mu, logvar)[0]
    twice = vae.negative_elbo_forward(np.tile(decoded, 2), np.tile(x, 2), mu, logvar)[0]
    assert_close(twice - kl, 2 * (once - kl))


def test_huge_logits_cost_what_they_should_without_a_warning():
    decoded, x = np.array([[1e3, -1e3, 1e3]]), np.array([[1.0, 1.0, 0.0]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, cache = vae.negative_elbo_forward(decoded, x, np.zeros((1, 2)), np.zeros((1, 2)))
        gradient = vae.negative_elbo_backward(np.array(1.0), cache)[0]
    assert loss == 2000
    assert gradient.tolist() == [[0, -1, 1]]


def test_a_linear_vae_learns_more_than_the_best_fixed_image(rng):
    """Two kinds of images, half of the pixels on in each."""
    x = np.repeat(np.repeat(np.eye(2), 6, axis=1), 9, axis=0)
    start = [0.1 * rng.standard_normal(shape) for shape in ((12, 1), (1,), (1, 12))]
    *_, losses = vae.train_linear_vae(x, *start, np.zeros(12), rng.standard_normal((600, 18, 1)), rate=0.05)
    assert losses[-50:].mean() < 0.75 * 12 * np.log(2)


def test_training_leaves_its_arguments_as_they_were(rng):
    inputs = draw(vae.train_linear_vae, rng)
    inputs["x"] = pixels(rng, *inputs["x"].shape)[1]
    before = {name: np.copy(value) for name, value in inputs.items()}
    vae.train_linear_vae(**inputs)
    for name, value in before.items():
        np.testing.assert_array_equal(inputs[name], value)


def test_each_trouble_of_a_vae_is_told_from_its_account():
    """Fits well; ignores its latents; decodes means only; spends more than it saves."""
    sampled, at_mean = np.array([20.0, 29.9, 60.0, 15.0]), np.array([18.0, 29.9, 14.0, 14.0])
    kl, baseline = np.array([3.0, 0.01, 9.0, 40.0]), np.full(4, 30.0)
    assert vae.explain_vae(sampled, at_mean, kl, baseline).tolist() == [0, 1, 2, 3]


# The module


@pytest.fixture
def model():
    torch.manual_seed(0)
    return vae_torch.VAE(pixels=11, d_h=7, latent=3)


def test_a_module_gives_one_gaussian_and_one_picture_for_each_image(model):
    decoded, mu, logvar = model(torch.rand(5, 11))
    assert (decoded.shape, mu.shape, logvar.shape) == ((5, 11), (5, 3), (5, 3))


def test_a_module_decodes_the_sample_that_the_given_noise_makes(model):
    x, eps = torch.rand(5, 11), torch.randn(5, 3)
    decoded, mu, _ = model(x, eps)
    z = vae_torch.reparameterize_forward(*model.encode(x), eps)
    assert torch.equal(decoded, model.decode(z))
    assert torch.equal(model(x, torch.zeros(5, 3))[0], model.decode(mu))
    assert not torch.equal(model(x)[0], model(x)[0])


def test_every_parameter_of_a_module_learns(model):
    decoded, mu, logvar = model(torch.rand(5, 11))
    vae_torch.negative_elbo_forward(decoded, torch.rand(5, 11), mu, logvar).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_module_comes_closer_to_a_few_images_than_the_best_fixed_one():
    torch.manual_seed(0)
    x = torch.eye(3).repeat_interleave(5, dim=1).repeat_interleave(6, dim=0)
    model = vae_torch.VAE(pixels=15, d_h=10, latent=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(400):
        decoded, mu, logvar = model(x)
        loss = vae_torch.negative_elbo_forward(decoded, x, mu, logvar)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    share = torch.full((15,), 1 / 3)
    assert loss.item() < 0.6 * distributions.Bernoulli(share).entropy().sum().item()


# What is refused, and what is left alone

PAIRS = {
    name: function for name, function in vars(vae).items() if inspect.isfunction(function) and name.endswith("_forward")
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_layer_changes_nothing_that_it_is_given(name, rng):
    inputs = draw(PAIRS[name], rng)
    before = {key: np.copy(value) for key, value in inputs.items()}
    *outputs, cache = PAIRS[name](**inputs)
    upstream = [np.asarray(rng.standard_normal(np.shape(output))) for output in outputs]
    kept = [d.copy() for d in upstream]
    getattr(vae, name.replace("_forward", "_backward"))(*upstream, cache)
    for key, value in inputs.items():
        np.testing.assert_array_equal(value, before[key])
    for d, copy in zip(upstream, kept, strict=True):
        np.testing.assert_array_equal(d, copy)


ONE_ROW, NONE = np.zeros((1, 3)), np.zeros((0, 3))
REFUSED = [
    (vae.kl_gaussian_forward, (ONE_ROW, np.zeros((1, 5))), r"expected one shape .* mu \(1, 3\), logvar \(1, 5\)"),
    (vae.kl_gaussian_forward, (NONE, NONE), r"without an empty axis, got mu \(0, 3\)"),
    (vae.reparameterize_forward, (ONE_ROW, ONE_ROW, np.zeros((1, 5))), r"eps \(1, 5\)"),
    (vae.negative_elbo_forward, (ONE_ROW, np.zeros((1, 5)), ONE_ROW, ONE_ROW), r"x \(1, 5\)"),
    (
        vae.negative_elbo_forward,
        (np.zeros((2, 5)), np.zeros((2, 5)), ONE_ROW, ONE_ROW),
        r"log_likelihoods \(2,\), divergences \(1,\)",
    ),
    (vae.negative_elbo_forward, (ONE_ROW, ONE_ROW, ONE_ROW, ONE_ROW, "poisson"), "got 'poisson'"),
    (vae.kl_monte_carlo, (ONE_ROW, ONE_ROW, np.zeros((1, 1, 3))), "expected two samples or more, got 1"),
    (
        vae.iwae_bound,
        (np.zeros((2, 1)), ONE_ROW, ONE_ROW, np.zeros((5, 1, 3))),
        r"log_px \(2, 1\), log_ratios \(5, 1\)",
    ),
]


@pytest.mark.parametrize(("function", "arguments", "message"), REFUSED)
def test_what_does_not_fit_is_named(function, arguments, message):
    with pytest.raises((TypeCheckError, ValueError)):
        function(*arguments)
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(function)(*arguments)  # without the test run's own check of shapes


def test_pixels_that_are_no_probabilities_are_refused(rng):
    inputs = draw(vae.train_linear_vae, rng)
    inputs["x"] = 16 * pixels(rng, *inputs["x"].shape)[1]
    with pytest.raises(ValueError, match=r"expected pixels in \[0, 1\], got 0 to 16"):
        vae.train_linear_vae(**inputs)


def test_an_unknown_likelihood_is_refused_in_torch_too():
    zeros = torch.zeros(3, 5)
    with pytest.raises((TypeCheckError, ValueError)):
        vae_torch.negative_log_likelihood(zeros, zeros, "poisson")


# What the grader makes of answers that are right by another way


def by_the_formula_of_the_sheet(mu, logvar):
    return -0.5 * np.sum(1 + logvar - mu**2 - np.exp(logvar), axis=1), (mu, np.exp(logvar))


def by_the_variance(dkl, cache):
    mu, variance = cache
    return (dkl * mu.T).T, (dkl * ((variance - 1) / 2).T).T


def by_the_root(mu, logvar, eps):
    return mu + np.sqrt(np.exp(logvar)) * eps, (eps, logvar)


def through_sigma(dz, cache):
    eps, logvar = cache
    dsigma = dz * eps
    return dz, dsigma * np.exp(logvar / 2) / 2, dz * np.exp(logvar / 2)


def image_by_image(decoded, x, mu, logvar, likelihood="bernoulli", beta=1.0):
    total = 0.0
    for d, pixels, m, s in zip(decoded, x, mu, logvar, strict=True):
        if likelihood == "bernoulli":
            total += np.sum(pixels * np.logaddexp(0, -d) + (1 - pixels) * np.logaddexp(0, d))
        else:
            total -= distributions.Normal(torch.tensor(d), 1.0).log_prob(torch.tensor(pixels)).sum().item()
        total += beta * by_the_formula_of_the_sheet(m[None], s[None])[0][0]
    return total / len(x), (decoded, x, mu, logvar, likelihood, beta)


def by_autograd(dloss, cache):
    tensors = leaves(*cache[:4])
    loss = vae_torch.negative_elbo_forward(*tensors, *cache[4:])
    return tuple(gradient.numpy() for gradient in torch.autograd.grad(loss * float(dloss), tensors))


def log_normal(z, mu, sigma):
    return -0.5 * ((z - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)


def by_two_densities(mu, logvar, eps):
    sigma = np.exp(logvar / 2)
    z = mu + sigma * eps
    ratios = log_normal(z, mu, sigma).sum(axis=2) - log_normal(z, 0, 1).sum(axis=2)
    return ratios.mean(axis=0), np.sqrt(ratios.var(axis=0, ddof=1) / len(ratios))


def by_logaddexp(log_px, mu, logvar, eps):
    sigma = np.exp(logvar / 2)
    z = mu + sigma * eps
    log_w = log_px + log_normal(z, 0, 1).sum(axis=2) - log_normal(z, mu, sigma).sum(axis=2)
    return np.logaddexp.reduce(log_w, axis=0) - np.log(len(log_w))


def by_optimizer(x, W_mu, logvar, W_out, b_out, eps, rate=0.1):
    x, eps = torch.tensor(x), torch.tensor(eps)
    parameters = W_mu, logvar, W_out, b_out = leaves(W_mu, logvar, W_out, b_out)
    optimizer, losses = torch.optim.SGD(parameters, lr=rate), []
    for noise in eps:
        mu = (x - x.mean(dim=0)) @ W_mu
        decoded = (mu + (logvar / 2).exp() * noise) @ W_out + b_out
        loss = vae_torch.negative_elbo_forward(decoded, x, mu, logvar.expand_as(mu))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return *(parameter.detach().numpy() for parameter in parameters), np.array(losses)


def run_by_run(nll_sampled, nll_mean, kl, baseline):
    causes = []
    for sampled, mean, cost, fixed in zip(nll_sampled, nll_mean, kl, baseline, strict=True):
        if cost < 0.1:
            causes.append(1)
        elif mean < fixed < sampled:
            causes.append(2)
        else:
            causes.append(3 if sampled + cost > fixed else 0)
    return np.array(causes)


HONEST = [
    {"kl_gaussian_forward": by_the_formula_of_the_sheet},
    {"kl_gaussian_forward": by_the_formula_of_the_sheet, "kl_gaussian_backward": by_the_variance},
    {"reparameterize_forward": by_the_root},
    {"reparameterize_forward": by_the_root, "reparameterize_backward": through_sigma},
    {"negative_elbo_forward": image_by_image},
    {"negative_elbo_forward": image_by_image, "negative_elbo_backward": by_autograd},
    {"kl_monte_carlo": by_two_densities},
    {"iwae_bound": by_logaddexp},
    {"train_linear_vae": by_optimizer},
    {"explain_vae": run_by_run},
]


@pytest.mark.parametrize("answer", HONEST, ids=lambda answer: list(answer)[-1])
def test_a_right_answer_by_another_way_gets_full_marks(answer):
    """Some use torch, which a student's answer must not: here it is only another way to the same numbers."""
    asked = dataclasses.replace(question.of_block("vae")[list(answer)[-1]], forbid=(), mistakes={})

    def ask(call):
        with np.errstate(all="ignore"):  # in a notebook, overflow is a warning at most
            return check.perform(answer, call)

    for seed in range(10):
        verdict = judge(asked, 4.0, seed, ask)
        assert verdict.points == verdict.out_of, f"seed {seed}: {verdict}"
