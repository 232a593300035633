"""The questions about generative adversarial networks, each with the mistakes that are known by name.

A mistake is an edit of the reference's source. The kernel's are edits of the walk over blocks below, which computes
what the kernel computes.
"""

import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.question import Draw, Mistake, Question, backward_slip, slip
from solutions import gan
from solutions.gan import (
    bilinear_game,
    discriminator_loss_backward,
    discriminator_loss_forward,
    explain_samples,
    gan_step,
    generator_loss_backward,
    generator_loss_forward,
    jensen_shannon,
    optimal_discriminator,
)

Array = np.ndarray[Any, Any]

TORCH = ("torch",)


def vectors_at(size: float, *names: str) -> Draw:
    """Logits of plus and minus a size, right ones and wrong ones."""
    return lambda rng: {name: size * np.array([1.0, -1.0, -1.0, 1.0, -1.0][k:]) for k, name in enumerate(names)}


# --- the discriminator's loss -----------------------------------------------------------------------------------


def logits_and_label(n_real: int, n_fake: int, alpha: float) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        real, fake = 0.5 + 2 * rng.standard_normal(n_real), -0.5 + 2 * rng.standard_normal(n_fake)
        return {"real": real, "fake": fake, "alpha": alpha}

    return make


def sure(size: float) -> Draw:
    return lambda rng: {**vectors_at(size, "real", "fake")(rng), "alpha": 0.9}


OF_REAL, OF_FAKE = "np.logaddexp(0, -real) + (1 - alpha) * real", "np.logaddexp(0, fake)"
D_LOSS = f"of_real.mean() + {OF_FAKE}.mean()"
D_DRAWS: dict[str, Draw] = {
    "label 0.9": logits_and_label(5, 7, 0.9),
    "label 0.7": logits_and_label(6, 3, 0.7),
    "label 1": logits_and_label(3, 5, 1.0),
}


def d_loss_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, discriminator_loss_forward, *edits)


DISCRIMINATOR_LOSS = Question(
    name="discriminator_loss_forward",
    reference=(discriminator_loss_forward,),
    outputs=("loss",),
    by_draw=True,
    draws=D_DRAWS,
    mistakes={
        "log D of the fakes": d_loss_slip(
            "fakes cost -log(1 - D), so that D learns to give them a low probability; yours is -log D, which rewards D "
            "for being fooled. (The official DCGAN tutorial once had this formula in its text)",
            (OF_FAKE, "np.logaddexp(0, -fake)"),
        ),
        "fakes smoothed too": d_loss_slip(
            "your fakes have the label 1 - alpha. Smooth on one side only: the label of a fake stays 0, or D is taught "
            "to call the generator's errors real now and then",
            (f"{OF_FAKE}.mean()", f"({OF_FAKE} - (1 - alpha) * fake).mean()"),
        ),
        "not smoothed": d_loss_slip(
            "alpha has no effect: the label of real examples is alpha, so each costs -alpha log D - (1 - alpha) "
            "log(1 - D)",
            (OF_REAL, "np.logaddexp(0, -real)"),
        ),
        "scaled in place of smoothed": d_loss_slip(
            "you multiply the loss of real examples by alpha. A label of alpha has a second term, (1 - alpha) times "
            "-log(1 - D), which is what keeps D from growing ever surer",
            (OF_REAL, "alpha * np.logaddexp(0, -real)"),
        ),
        "log D in full": d_loss_slip(
            "your real examples cost -log D - (1 - alpha) log(1 - D): the first term has the factor alpha",
            (OF_REAL, "np.logaddexp(0, -real) + (1 - alpha) * np.logaddexp(0, real)"),
        ),
        "the label's complement": d_loss_slip(
            "real examples have the label alpha; in yours they have 1 - alpha",
            ("(1 - alpha) * real", "alpha * real"),
        ),
        "sums": d_loss_slip(
            "your loss is a sum: take the mean over the real logits, and that over the fake ones",
            (D_LOSS, D_LOSS.replace("mean", "sum")),
        ),
        "one mean over all": d_loss_slip(
            "you average over all logits together, so that with more fakes than data the fakes count more. Each side "
            "has a mean of its own",
            (D_LOSS, f"np.concatenate([of_real, {OF_FAKE}]).mean()"),
        ),
        "half": d_loss_slip(
            "yours is half the right loss: the two means are added, not averaged", (D_LOSS, f"({D_LOSS}) / 2")
        ),
        "the value": d_loss_slip(
            "the sign is wrong: yours is the value of the game, which D maximizes; a loss is minimized, so it is minus "
            "the value",
            (D_LOSS, f"-({D_LOSS})"),
        ),
        "real and fake exchanged": d_loss_slip(
            "real and fake logits have traded places: those of real examples come first",
            ("    of_real =", "    real, fake = fake, real\n    of_real ="),
        ),
        "sigmoid, then log": d_loss_slip(
            "at a logit of 50 the sigmoid is 1 to the last digit and log(1 - D) is minus infinity: compute the loss "
            "from the logit, log(1 + exp(l)) by np.logaddexp(0, l)",
            (OF_REAL, "-alpha * np.log(sigmoid(real)) - (1 - alpha) * np.log(1 - sigmoid(real))"),
            (OF_FAKE, "-np.log(1 - sigmoid(fake))"),
        ),
        "log1p(exp(l))": d_loss_slip(
            "exp overflows above 709: let np.logaddexp(0, l) compute log(1 + exp(l)), or take max(l, 0) out of it",
            (OF_REAL, "np.log1p(np.exp(-real)) + (1 - alpha) * real"),
            (OF_FAKE, "np.log1p(np.exp(fake))"),
        ),
    },
    edges={
        "one logit each": logits_and_label(1, 1, 0.9),
        "logits at ±50": sure(50.0),
        "logits at ±1000": sure(1000.0),
    },
    forbid=TORCH,
)

DREAL, DFAKE = "(sigmoid(real) - alpha) / len(real)", "dloss * sigmoid(fake) / len(fake)"


def d_gradient_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, discriminator_loss_forward, discriminator_loss_backward, *edits)


DISCRIMINATOR_BACKWARD = Question(
    name="discriminator_loss_backward",
    reference=(discriminator_loss_forward, discriminator_loss_backward),
    outputs=("dreal", "dfake"),
    draws=D_DRAWS,
    mistakes={
        "label 1": d_gradient_slip(
            "dfake is right; dreal is sigmoid(l) - 1, but the label is alpha, so it is sigmoid(l) - alpha",
            ("- alpha)", "- 1)"),
        ),
        "fakes smoothed too": d_gradient_slip(
            "dreal is right; dfake is sigmoid(l) - (1 - alpha), but the label of a fake is 0",
            (DFAKE, "dloss * (sigmoid(fake) - (1 - alpha)) / len(fake)"),
        ),
        "fakes pulled up": d_gradient_slip(
            "dreal is right; dfake has the gradient of -log D, sigmoid(l) - 1, which pushes fakes' logits up. D pushes "
            "them down: sigmoid(l)",
            (DFAKE, "dloss * (sigmoid(fake) - 1) / len(fake)"),
        ),
        "not averaged": d_gradient_slip(
            "the loss has two means, so each gradient is divided by the number of its logits",
            (DREAL, "(sigmoid(real) - alpha)"),
            (DFAKE, "dloss * sigmoid(fake)"),
        ),
        "divided by all": d_gradient_slip(
            "each gradient is divided by the number of logits of its own side; yours by that of both together",
            (DREAL, "(sigmoid(real) - alpha) / (len(real) + len(fake))"),
            (DFAKE, "dloss * sigmoid(fake) / (len(real) + len(fake))"),
        ),
        "divided by the other side": d_gradient_slip(
            "dreal is right; dfake is divided by the number of real logits: divide it by that of the fakes",
            (DFAKE, "dloss * sigmoid(fake) / len(real)"),
        ),
        "derivative of the sigmoid": d_gradient_slip(
            "your gradients have the factor sigmoid * (1 - sigmoid), which cancels against the derivative of the "
            "logarithm",
            (DREAL, "(sigmoid(real) - alpha) * sigmoid(real) * sigmoid(-real) / len(real)"),
            (DFAKE, "dloss * sigmoid(fake) ** 2 * sigmoid(-fake) / len(fake)"),
        ),
        "sign": d_gradient_slip("both gradients have the wrong sign", ("return dreal, dfake", "return -dreal, -dfake")),
        "dloss ignored": d_gradient_slip(
            "dloss does not enter: multiply both gradients by it",
            ("dloss * (sigmoid(real)", "(sigmoid(real)"),
            (DFAKE, "sigmoid(fake) / len(fake)"),
        ),
    },
    edges={
        "one logit each": logits_and_label(1, 1, 0.9),
        "logits at ±1000": sure(1000.0),
    },
    forbid=TORCH,
)

# --- the generator's loss ---------------------------------------------------------------------------------------

KINDS = ("saturating", "non-saturating")
SATURATING, NON_SATURATING = "-np.logaddexp(0, fake).mean()", "np.logaddexp(0, -fake).mean()"


def fakes(count: int, kind: str) -> Draw:
    return lambda rng: {"fake": -0.5 + 2 * rng.standard_normal(count), "kind": kind}


def sure_of_fakes(size: float, kind: str) -> Draw:
    return lambda rng: {**vectors_at(size, "fake")(rng), "kind": kind}


G_DRAWS: dict[str, Draw] = {
    "saturating": fakes(5, KINDS[0]),
    "non-saturating": fakes(7, KINDS[1]),
    "saturating, fewer fakes": fakes(3, KINDS[0]),
    "non-saturating, fewer fakes": fakes(3, KINDS[1]),
}


def g_loss_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, generator_loss_forward, *edits)


GENERATOR_LOSS = Question(
    name="generator_loss_forward",
    reference=(generator_loss_forward,),
    outputs=("loss",),
    by_draw=True,
    draws=G_DRAWS,
    mistakes={
        "zeros for ones": g_loss_slip(
            "non-saturating: yours is the cross-entropy to the label 0, which makes fakes look more fake. G wants them "
            "taken for real: the label is 1, the loss -log D",
            (f" {NON_SATURATING}", " np.logaddexp(0, fake).mean()"),
        ),
        "sign of the non-saturating loss": g_loss_slip(
            "non-saturating: a logarithm of a probability is negative, and G wants it high: the loss is minus the mean "
            "of log D",
            (f" {NON_SATURATING}", f" -{NON_SATURATING}"),
        ),
        "sign of the saturating loss": g_loss_slip(
            "saturating: yours is the discriminator's own term, -log(1 - D). In the game G minimizes what D maximizes, "
            "the mean of log(1 - D) itself, which is never positive",
            (SATURATING, "np.logaddexp(0, fake).mean()"),
        ),
        "kinds exchanged": g_loss_slip(
            "the two kinds have traded places: log(1 - D) is the saturating one, since it is flat where D is sure that "
            "it sees a fake",
            ('== "saturating"', '== "non-saturating "[:-1]'),
            ('elif kind == "non-saturating"', 'elif kind == "saturating"'),
        ),
        "always non-saturating": g_loss_slip(
            "`kind` has no effect: yours is always -log D, the non-saturating loss", (SATURATING, NON_SATURATING)
        ),
        "always saturating": g_loss_slip(
            "`kind` has no effect: yours is always log(1 - D), the saturating loss",
            (f" {NON_SATURATING}", f" {SATURATING}"),
        ),
        "sums": g_loss_slip(
            "your loss is a sum over the fakes: take the mean",
            (SATURATING, SATURATING.replace("mean", "sum")),
            (f" {NON_SATURATING}", f" {NON_SATURATING.replace('mean', 'sum')}"),
        ),
        "sigmoid, then log": g_loss_slip(
            "at a logit of 50 the sigmoid is 1 to the last digit and log(1 - D) is minus infinity; at -1000 it is 0 "
            "and log D is. Compute both from the logit, by np.logaddexp",
            (SATURATING, "np.log(1 - sigmoid(fake)).mean()"),
            (f" {NON_SATURATING}", " -np.log(sigmoid(fake)).mean()"),
        ),
    },
    edges={
        "one fake": fakes(1, KINDS[1]),
        "saturating at ±50": sure_of_fakes(50.0, KINDS[0]),
        "non-saturating at ±1000": sure_of_fakes(1000.0, KINDS[1]),
    },
    forbid=TORCH,
)

SLOPES = '-sigmoid(fake) if kind == "saturating" else -sigmoid(-fake)'


def g_gradient_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, generator_loss_forward, generator_loss_backward, *edits)


GENERATOR_BACKWARD = Question(
    name="generator_loss_backward",
    reference=(generator_loss_forward, generator_loss_backward),
    outputs=("dfake",),
    by_draw=True,
    draws=G_DRAWS,
    mistakes={
        "with respect to D": g_gradient_slip(
            "yours is the derivative with respect to the probability D, -1/(1 - D) or -1/D. Asked for is the one at "
            "the logit: multiply by D (1 - D), which cancels",
            (SLOPES, '-1 / sigmoid(-fake) if kind == "saturating" else -1 / sigmoid(fake)'),
        ),
        "both non-saturating": g_gradient_slip(
            "the gradient of the saturating loss is -sigmoid(l): yours is -sigmoid(-l) for both kinds. At l = -10 the "
            "one pushes with 4.5e-5, the other with 1",
            (SLOPES, "-sigmoid(-fake)"),
        ),
        "both saturating": g_gradient_slip(
            "the gradient of the non-saturating loss is -sigmoid(-l): yours is -sigmoid(l) for both kinds. At l = -10 "
            "the one pushes with 1, the other with 4.5e-5",
            (SLOPES, "-sigmoid(fake)"),
        ),
        "kinds exchanged": g_gradient_slip(
            "the gradients of the two kinds have traded places: the saturating one vanishes where D is sure of a fake, "
            "that is for very negative logits",
            ('== "saturating"', '!= "saturating"'),
        ),
        "sign": g_gradient_slip(
            "the gradients have the wrong sign: G's loss falls when the logit of a fake rises, so they are negative",
            ("dloss * slope", "-dloss * slope"),
        ),
        "not averaged": g_gradient_slip(
            "the loss is a mean, so the gradient is divided by the number of fakes", (" / len(fake)", "")
        ),
        "dloss ignored": g_gradient_slip("dloss does not enter: multiply by it", ("dloss * slope", "slope")),
    },
    edges={
        "one fake": fakes(1, KINDS[1]),
        "saturating, where D is sure of fakes": lambda rng: {"fake": np.array([-10.0, -50.0]), "kind": KINDS[0]},
        "non-saturating, where D is sure of fakes": lambda rng: {"fake": np.array([-10.0, -1000.0]), "kind": KINDS[1]},
    },
    tells={"saturating, where D is sure of fakes": ("not averaged",)},
    forbid=TORCH,
)

# --- the game on paper ------------------------------------------------------------------------------------------


def two_distributions(bins: int, **labels: float) -> Draw:
    """Two distributions in which every bin has some probability."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        p, q = rng.dirichlet(np.ones(bins), 2) * 0.9 + 0.1 / bins
        return {"p": p, "q": q, **labels}

    return make


def with_empty_bins(**labels: float) -> Draw:
    """One bin that only p visits, one that only q does, one that neither does."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        p, q = rng.dirichlet(np.ones(6), 2)
        p[[0, 2]] = q[[1, 2]] = 0
        return {"p": p / p.sum(), "q": q / q.sum(), **labels}

    return make


def disjoint(**labels: float) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        p, q = np.zeros((2, 5))
        p[:2], q[2:] = rng.dirichlet(np.ones(2)), rng.dirichlet(np.ones(3))
        return {"p": p, "q": q, **labels}

    return make


BEST = "np.divide(alpha * p + beta * q, total, out=best, where=total > 0)"


def optimal_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, optimal_discriminator, *edits)


OPTIMAL = Question(
    name="optimal_discriminator",
    reference=(optimal_discriminator,),
    outputs=("D",),
    by_draw=True,
    draws={
        "labels 1 and 0": two_distributions(5, alpha=1.0, beta=0.0),
        "labels 0.9 and 0": two_distributions(7, alpha=0.9, beta=0.0),
        "labels 0.8 and 0.1": two_distributions(6, alpha=0.8, beta=0.1),
    },
    mistakes={
        "probability of fake": optimal_slip(
            "p and q have traded places: D is the probability of data, so the numerator has alpha p + beta q",
            ("alpha * p + beta * q", "alpha * q + beta * p"),
        ),
        "labels ignored": optimal_slip(
            "alpha and beta have no effect: they weigh p and q in the numerator", ("alpha * p + beta * q", "p")
        ),
        "beta forgotten": optimal_slip(
            "the label beta of fakes is missing: it brings the mass of the fakes, beta q, into the numerator. That is "
            "why fakes are not smoothed",
            ("alpha * p + beta * q", "alpha * p"),
        ),
        "labels weigh the denominator": optimal_slip(
            "the denominator is p + q: a label does not change how often an example comes, only what D is to say",
            (BEST, "(alpha * p + beta * q) / (alpha * p + q)"),
        ),
        "odds": optimal_slip(
            "yours are the odds p/q; a probability is p/(p + q), where the labels are 1 and 0",
            (BEST, "(alpha * p + beta * q) / q"),
        ),
        "0 where nobody comes": optimal_slip(
            "where neither data nor fakes ever come, yours is 0: the question asks for 1/2 there",
            ("np.full_like(total, 0.5)", "np.full_like(total, 0.0)"),
        ),
        "0/0": optimal_slip(
            "where neither data nor fakes ever come, 0/0 is NaN: the question asks for 1/2 there",
            (BEST, "(alpha * p + beta * q) / total"),
        ),
    },
    edges={
        "nothing in common": disjoint(alpha=1.0, beta=0.0),
        "bins that nobody visits": with_empty_bins(alpha=0.9, beta=0.1),
    },
    forbid=TORCH,
)

TERM, HALVED = "a[a > 0] * np.log(a[a > 0] / middle[a > 0])", "(terms[0].sum() + terms[1].sum()) / 2"


def js_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, jensen_shannon, *edits)


JENSEN_SHANNON = Question(
    name="jensen_shannon",
    reference=(jensen_shannon,),
    outputs=("divergence",),
    draws={f"{bins} bins": two_distributions(bins) for bins in (3, 5, 7)},
    mistakes={
        "base 2": js_slip(
            "your logarithm has the base 2, so that the divergence ends at 1; here it is in nats and ends at log 2",
            ("np.log(", "np.log2("),
        ),
        "0 log 0": js_slip(
            "a bin of probability 0 gives 0 times minus infinity, which is NaN: such a term counts 0, leave it out",
            (TERM, "a * np.log(a / middle)"),
        ),
        "against each other": js_slip(
            "p and q are compared with each other; compare each with their average, which is nowhere 0 where they are "
            "not",
            (TERM, "a[a > 0] * np.log(a[a > 0] / (p + q - a)[a > 0])"),
        ),
        "one side only": js_slip(
            "only the divergence of p from the average counts in yours: add that of q, and take half of both",
            (HALVED, "terms[0].sum()"),
        ),
        "not halved": js_slip("yours is twice the right one: it is the mean of two divergences", (HALVED, HALVED[:-4])),
        "sum for average": js_slip(
            "compare with the average (p + q) / 2; p + q is no distribution, and your divergence is too small by log 2",
            ("(p + q) / 2", "p + q"),
        ),
        "the other way round": js_slip(
            "yours is the divergence of the average from p and q; asked for is theirs from it: sum p log(p / average)",
            (TERM, "middle[a > 0] * np.log(middle[a > 0] / a[a > 0])"),
        ),
        "value of the game": js_slip(
            "yours is the value of the game against the best D, 2 JS - log 4; asked for is JS itself",
            (HALVED, "terms[0].sum() + terms[1].sum() - np.log(4)"),
        ),
        "root": js_slip(
            "yours is the square root, the Jensen-Shannon distance, which is what scipy.spatial.distance.jensenshannon "
            "gives; the divergence is its square",
            (HALVED, f"np.sqrt({HALVED})"),
        ),
    },
    edges={
        "nothing in common": disjoint(),
        "bins that nobody visits": with_empty_bins(),
        "the same twice": lambda rng: dict.fromkeys(("p", "q"), rng.dirichlet(np.ones(5))),
    },
    forbid=TORCH,
)

# --- the bilinear game ------------------------------------------------------------------------------------------


def game(order: str, lr: float, steps: int) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        angle = rng.uniform(0.2, 1.3)
        return {"start": 2 * np.array([np.cos(angle), np.sin(angle)]), "lr": lr, "steps": steps, "order": order}

    return make


X_STEP, Y_STEP = "x = x - lr * y", 'y = y + lr * (old if order == "simultaneous" else x)'


def game_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, bilinear_game, *edits)


BILINEAR = Question(
    name="bilinear_game",
    reference=(bilinear_game,),
    outputs=("path",),
    by_draw=True,
    draws={
        "simultaneous": game("simultaneous", 0.3, 7),
        "alternating": game("alternating", 0.2, 5),
        "simultaneous, longer": game("simultaneous", 0.1, 23),
        "alternating, longer": game("alternating", 0.1, 21),
    },
    mistakes={
        "always alternating": game_slip(
            "simultaneous: y sees the x that has just moved, so that the radius stays about what it is. Both players "
            "use the old place: keep the old x, or compute both steps before you take them",
            (Y_STEP, "y = y + lr * x"),
        ),
        "always simultaneous": game_slip(
            "alternating: y moves by the old x; it is to see the new one. Yours spirals outward, its radius grows by "
            "the root of 1 + lr squared in each step",
            (Y_STEP, "y = y + lr * old"),
        ),
        "both minimize": game_slip(
            "y descends too, but it maximizes: it adds its gradient", (Y_STEP, Y_STEP.replace("y +", "y -"))
        ),
        "both maximize": game_slip(
            "x climbs too, but it minimizes: it subtracts its gradient", (X_STEP, "x = x + lr * y")
        ),
        "players exchanged": game_slip(
            "yours is max over x and min over y, which turns the other way",
            (X_STEP, "x = x + lr * y"),
            (Y_STEP, Y_STEP.replace("y +", "y -")),
        ),
        "gradient of one's own": game_slip(
            "the gradient of xy with respect to x is y, and with respect to y it is x; yours moves each player by "
            "itself",
            (X_STEP, "x = x - lr * x"),
            (Y_STEP, "y = y + lr * y"),
        ),
        "orders exchanged": game_slip(
            "the two orders have traded places: y sees the x that has just moved in the alternating one",
            ('(old if order == "simultaneous" else x)', '(x if order == "simultaneous" else old)'),
        ),
        "y first": game_slip(
            "alternating: your y moves first, and x sees the new y. x comes first, y sees the new x",
            (X_STEP, 'x = x - lr * (y if order == "simultaneous" else y + lr * x)'),
            (Y_STEP, "y = y + lr * old"),
        ),
        "one place for all": game_slip(
            "all rows are the last place: you store one array and change it afterwards. Store copies, or make new ones",
            ("return path", "return path * 0 + path[-1]"),
        ),
        "start left out": game_slip(
            "the first row is the place after the first step: it is to be the start, so steps + 1 rows come back",
            ("return path", "return np.vstack([path[1:], path[-1] + [-lr * y, lr * x]])"),
        ),
    },
    edges={"no steps": game("simultaneous", 0.3, 0), "one step": game("alternating", 0.5, 1)},
)

# --- one step of training ---------------------------------------------------------------------------------------


def players(batch: int, lr: float, alpha: float) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        theta, phi = rng.standard_normal(2), rng.standard_normal(3)
        real, z = 1 + 0.5 * rng.standard_normal(batch), rng.standard_normal((2, batch))
        return {"theta": theta, "phi": phi, "real": real, "z": z, "lr": lr, "alpha": alpha}

    return make


def step_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, gan_step, *edits)


FAKE_FOR_D = "    fake = theta[0] + theta[1] * z[0]  # for D these are data like any other\n"
FAKE_FOR_G = "    fake = theta[0] + theta[1] * z[1]\n"
THROUGH_NEW_D = "generator_loss_forward(discriminator_features(fake) @ new_phi)"
DX, G_STEP = "dlogits * (new_phi[1] + 2 * new_phi[2] * fake)", "theta - lr * np.array([dx.sum(), (dx * z[1]).sum()])"
G_FIRST = f"""{FAKE_FOR_G}    _, cache = generator_loss_forward(discriminator_features(fake) @ phi)
    dx = generator_loss_backward(np.array(1.0), cache) * (phi[1] + 2 * phi[2] * fake)
    theta = {G_STEP}
"""
LEAK = "(dfake * (phi[1] + 2 * phi[2] * (theta[0] + theta[1] * z[0])))"

STEP = Question(
    name="gan_step",
    reference=(gan_step,),
    outputs=("theta", "phi"),
    draws={
        "a rate of 0.3": players(7, 0.3, 0.9),
        "a rate of 0.1": players(5, 0.1, 0.8),
        "labels of 1": players(6, 0.2, 1.0),
    },
    mistakes={
        "both against the old opponent": step_slip(
            "D's step is right, but G learns from the old D: the steps alternate, so G's gradient goes through the new "
            "phi",
            (THROUGH_NEW_D, THROUGH_NEW_D.replace("new_phi", "phi")),
            (DX, DX.replace("new_phi", "phi")),
        ),
        "G first": step_slip(
            "the order is the other way round: your G moves first, and D then learns from the new G's fakes. D comes "
            "first, so that G learns from a D that knows G as it is",
            (FAKE_FOR_D, G_FIRST + FAKE_FOR_D),
            ("return new_theta", "return theta"),
        ),
        "not detached": step_slip(
            "G moves by the gradient of D's loss as well, which makes its fakes easier to tell apart. In D's step the "
            "fakes are data: nothing goes back through them (in torch: detach)",
            (G_STEP, f"{G_STEP} - lr * np.array([{LEAK}.sum(), ({LEAK} * z[0]).sum()])"),
        ),
        "G's step moves D too": step_slip(
            "D moves twice: G's loss has a gradient at phi as well, since it goes through D, but only theta takes a "
            "step by it. (In torch, D's gradients have to be cleared before its next step)",
            ("return new_theta, new_phi", "return new_theta, new_phi - lr * discriminator_features(fake).T @ dlogits"),
        ),
        "D climbs its loss": step_slip(
            "phi goes up the gradient of D's loss: subtract it. (D maximizes the value of the game, and the loss is "
            "minus that)",
            ("new_phi = phi - lr", "new_phi = phi + lr"),
        ),
        "G climbs its loss": step_slip(
            "theta goes up the gradient of G's loss: subtract it, or the fakes flee from the data",
            ("new_theta = theta - lr", "new_theta = theta + lr"),
        ),
        "saturating": step_slip(
            "G descends the saturating loss, log(1 - D); the step asks for the non-saturating one, -log D",
            (THROUGH_NEW_D, f'{THROUGH_NEW_D[:-1]}, "saturating")'),
        ),
        "the noise of D's step": step_slip(
            "G learns from z[0], the noise that D has just learned from: its own is z[1]",
            (FAKE_FOR_G, FAKE_FOR_G.replace("z[1]", "z[0]")),
            ("(dx * z[1])", "(dx * z[0])"),
        ),
        "not smoothed": step_slip(
            "alpha has no effect: it is the label of real examples in D's loss", ("@ phi, alpha)", "@ phi, 1.0)")
        ),
        "past D": step_slip(
            "G's gradient at the logits is taken for one at the fakes: between them stands D, whose slope is phi[1] + "
            "2 phi[2] x",
            (DX, "dlogits"),
        ),
        "the old D's slope": step_slip(
            "G's gradient takes the slope of D at a fake from the old phi: the logits and the slope are both those of "
            "the new one",
            (DX, DX.replace("new_phi", "phi")),
        ),
        "the old D's logits": step_slip(
            "G's gradient starts at the logits of the old phi: the logits and the slope are both those of the new one",
            (THROUGH_NEW_D, THROUGH_NEW_D.replace("new_phi", "phi")),
        ),
        "averaged twice": step_slip(
            "theta moves too little by the size of the batch: the mean over the fakes is in the gradient at the logits "
            "already, so sum up dx and dx * z",
            ("np.array([dx.sum(), (dx * z[1]).sum()])", "np.array([dx.mean(), (dx * z[1]).mean()])"),
        ),
        "slope of the square": step_slip(
            "the slope of D at a fake x is phi[1] + 2 phi[2] x: the 2 of the square is missing",
            ("+ 2 * new_phi[2]", "+ new_phi[2]"),
        ),
    },
    edges={"a batch of one": players(1, 0.3, 0.9), "a rate of 0": players(5, 0.0, 0.9)},
    tells={"a batch of one": ("not detached", "past D", "slope of the square")},
    forbid=TORCH,
)

# --- training ---------------------------------------------------------------------------------------------------


def a_game(rounds: int, batch: int) -> Draw:
    """Data from a Gaussian, and the first rounds of a game on it."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        theta = np.array([0.0, 1.0]) + 0.3 * rng.standard_normal(2)
        mean, std = rng.uniform(0.7, 1.2), rng.uniform(0.5, 0.7)
        real = mean + std * rng.standard_normal((rounds, 5, batch))
        return {"theta": theta, "real": real, "z": rng.standard_normal((rounds, 6, batch)), "lr": np.array([0.3, 0.06])}

    return make


def train_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, gan.train_gaussian, *edits)


SOURCE = inspect.getsource(gan.train_gaussian)
G_STEPS = SOURCE[SOURCE.index("        fake = theta[0] + theta[1] * noise[-1]") : SOURCE.index("    return")]
TRAINED, ON_FAKES = "theta = theta - lr[1] *", "dlogits = -sigmoid(-discriminator_features(fake) @ phi)"

TRAIN = Question(
    name="train_gaussian",
    reference=(gan.train_gaussian,),
    outputs=("mean", "std"),
    draws={"nine rounds": a_game(9, 7), "seven rounds": a_game(7, 11)},
    mistakes={
        "never moved": train_slip(
            "G ends where it began. Either theta is never updated, or D is not, and a D of zeros has no slope that G "
            "could follow",
            (TRAINED, "theta = theta + 0 *"),
        ),
        "D steps once": train_slip(
            "D takes one step in a round, where it should take one for each row of data: a G that runs ahead of D goes "
            "to the point that D likes best, and collapses there",
            ("zip(data, noise[:-1], strict=True)", "zip(data[:1], noise[:1], strict=True)"),
        ),
        "stale noise": train_slip(
            "D sees the fakes of the same noise in all steps of a round: each step has a row of noise of its own",
            ("fake = theta[0] + theta[1] * row", "fake = theta[0] + theta[1] * noise[0]"),
        ),
        "D forgets": train_slip(
            "D starts from zeros in every round: it should go on from where the last round left it",
            (
                "    for data, noise in zip(real, z, strict=True):\n",
                "    for data, noise in zip(real, z, strict=True):\n        phi = np.zeros(3)\n",
            ),
        ),
        "G climbs": train_slip(
            "the fakes flee from the data: G's gradient is added where it should be subtracted, so it seeks out what D "
            "finds fake",
            (TRAINED, "theta = theta + lr[1] *"),
        ),
        "saturating": train_slip(
            "G follows the loss that saturates, log(1 - D): the gradient of -log D at a logit l is -sigmoid(-l)",
            (ON_FAKES, ON_FAKES.replace("sigmoid(-", "sigmoid(")),
        ),
        "G steps with D": train_slip(
            "G takes a step after each step of D: it takes one in a round, after D has taken all of its own",
            (G_STEPS, textwrap.indent(G_STEPS, "    ")),
        ),
        "one mean for both": train_slip(
            "D's gradient is divided by the number of data and fakes together: each side has a mean of its own, over "
            "`batch` logits",
            ("dlogits / len(x)", "dlogits / len(both)"),
        ),
        "rates exchanged": train_slip(
            "the rates are exchanged: lr[0] is D's, lr[1] is G's",
            ("phi - lr[0] *", "phi - lr[1] *"),
            (TRAINED, "theta = theta - lr[0] *"),
        ),
        "standard deviation lost": train_slip(
            "only the mean is learned: the gradient of theta[1] is that of the fake times its noise, dx * z",
            ("(dx * noise[-1]).sum()])", "0.0])"),
        ),
        "mean lost": train_slip(
            "only the standard deviation moves: theta[0] has a gradient too, the sum of those at the fakes",
            ("np.array([dx.sum(), ", "np.array([0.0, "),
        ),
    },
    edges={"one round": a_game(1, 5), "a batch of one": a_game(3, 1)},
    forbid=TORCH,
)

# --- reading samples --------------------------------------------------------------------------------------------

FATES = (
    "fine",
    "one mode missing",
    "a quarter missing",
    "collapsed",
    "collapsed but for strays",
    "never moved",
    "blurred",
)
SAMPLES, STD = 200, 0.1


def ring(modes: int) -> Array:
    angle = 2 * np.pi * np.arange(modes) / modes
    centers: Array = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return centers


def samples_of(fate: str, centers: Array, rng: np.random.Generator) -> Array:
    """What a generator of this fate makes, clear of every border."""
    noise = rng.standard_normal((SAMPLES, 2))
    if fate == "never moved":
        still: Array = 0.25 * noise / np.maximum(1, np.linalg.norm(noise, axis=1, keepdims=True))
        return still
    kept = len(centers)
    if fate == "one mode missing":
        kept -= 1
    if fate == "a quarter missing":  # three quarters are left, or the next number below
        kept = 3 * kept // 4
    if fate.startswith("collapsed"):
        kept = int(rng.integers(1, len(centers) // 2 + 1))
    chosen = rng.permutation(len(centers))[:kept]
    samples = centers[np.resize(chosen, SAMPLES)] + (0.4 if fate == "blurred" else STD) * noise
    if fate == "collapsed but for strays":  # one sample in every mode, which does not make up for it
        samples[: len(centers)] = centers
    return samples


def runs_on_a_ring(modes: int, *fates: str, size: float = 1.0) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        centers = ring(modes)
        samples = np.array([samples_of(fate, centers, rng) for fate in rng.permutation(fates)])
        return {"samples": size * samples, "centers": size * centers, "radius": size * 0.3}

    return make


def samples_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, explain_samples, *edits)


VERDICT = "[still, few, good < 0.7], [2, 1, 3], 0"

EXPLAIN = Question(
    name="explain_samples",
    reference=(explain_samples,),
    outputs=("causes",),
    draws={
        "8 modes": runs_on_a_ring(8, *FATES),
        "6 modes, three times the size": runs_on_a_ring(6, *FATES, "fine", size=3.0),
        "7 modes": runs_on_a_ring(7, *FATES, "blurred"),
    },
    mistakes={
        "no collapse": samples_slip(
            "you never answer 1: samples that are all good may still come from one or two modes. Mode collapse: is D "
            "trained in every step, on fresh noise? Count the modes",
            ("[still, few,", "[still, few & False,"),
        ),
        "never moved taken for collapse": samples_slip(
            "you never answer 2: samples that all lie at the origin miss every mode, but nothing has collapsed there. "
            "G was never updated: ask for that first",
            ("[still, few,", "[still & False, few,"),
        ),
        "blur not seen": samples_slip(
            "you never answer 3: a run may visit every mode and still put most of its samples between them",
            ("good < 0.7]", "good < 0.0]"),
        ),
        "one stray sample makes a mode": samples_slip(
            "you count a mode as found if a single sample lies in it; it needs 2 % of them",
            (">= 0.02", "> 0"),
        ),
        "all modes needed": samples_slip(
            "a run is fine if it has three quarters of the modes; you ask for all of them", ("0.75 * len", "1.0 * len")
        ),
        "three quarters are too few": samples_slip(
            "a run with exactly three quarters of the modes is fine: cause 1 asks for fewer", ("found < ", "found <= ")
        ),
        "three quarters rounded": samples_slip(
            "you round three quarters of the modes to a whole number: 5 of 7 are fewer than 5.25",
            ("0.75 * len(centers)", "int(0.75 * len(centers))"),
        ),
        "radius ignored": samples_slip(
            "the radius has no effect: a mode reaches as far as the argument says, not always 0.3",
            ("mode_shares(run, centers, radius)", "mode_shares(run, centers)"),
        ),
        "causes from 1": samples_slip(
            "the causes are numbered from 0; yours are one too high", (VERDICT, f"{VERDICT}) + (1")
        ),
    },
    edges={"a single run": runs_on_a_ring(8, "collapsed"), "five modes": runs_on_a_ring(5, *FATES)},
    tells={"five modes": ("blur not seen",)},
)

# --- the kernel -------------------------------------------------------------------------------------------------

BLOCK = 1024  # of the given launch_discriminator_loss


def walk_over_blocks(real: Array, fake: Array, alpha: float) -> Array:
    """What launch_discriminator_loss returns, computed as its kernel does: both vectors block by block, filled up."""
    programs = -(-max(len(real), len(fake)) // 1024)
    parts = np.zeros(programs)
    for logits, label in ((real, alpha), (fake, 0.0)):
        filled, inside = np.zeros(programs * 1024), np.arange(programs * 1024) < len(logits)
        filled[: len(logits)] = logits
        tail = np.log1p(np.exp(-np.abs(filled)))
        losses = np.maximum(filled, 0) - label * filled + tail
        losses = np.where(inside, losses, 0.0)
        parts += (losses / len(logits)).reshape(programs, 1024).sum(axis=1)
    return parts


def kernel_logits(n_real: int, n_fake: int, alpha: float) -> Draw:
    return logits_and_label(n_real, n_fake, alpha)


def bytes_of_logits(inputs: Mapping[str, Any]) -> int:
    """Every logit is read once, and every program writes one number."""
    n_real, n_fake = len(inputs["real"]), len(inputs["fake"])
    return 4 * (n_real + n_fake + -(-max(n_real, n_fake) // BLOCK))


def kernel_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, walk_over_blocks, *edits)


LOSSES = "np.maximum(filled, 0) - label * filled + tail"

KERNEL = Question(
    name="discriminator_loss_kernel",
    reference=(walk_over_blocks,),
    outputs=("losses",),
    calls=("launch_discriminator_loss",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "both shorter than a block": kernel_logits(37, 23, 0.9),
        "longer than a block, and of different lengths": kernel_logits(1500, 2100, 0.7),
        "fewer fakes than one block, more data": kernel_logits(2500, 700, 0.8),
    },
    mistakes={
        "padding counts": kernel_slip(
            "lanes past the end of a vector add log 2 each: that is the loss of the logit 0 that other=0.0 gives them. "
            "Set their loss to 0 by tl.where before you sum",
            ("np.where(inside, losses, 0.0)", "losses"),
        ),
        "mean of each block": kernel_slip(
            "each part is divided by the length of its block: divide by n_real and n_fake, so that the parts of all "
            "programs add up to the mean",
            ("losses / len(logits)", "losses / 1024"),
        ),
        "sums": kernel_slip(
            "your parts add up to the sum of all losses: divide those of real logits by n_real, of fakes by n_fake",
            ("losses / len(logits)", "losses"),
        ),
        "fakes divided by n_real": kernel_slip(
            "the losses of fakes are divided by n_real: divide them by n_fake",
            ("losses / len(logits)", "losses / len(real)"),
        ),
        "one mean for both": kernel_slip(
            "you divide by n_real + n_fake: each side has a mean of its own",
            ("losses / len(logits)", "losses / (len(real) + len(fake))"),
        ),
        "half": kernel_slip(
            "yours is half the right loss: the two means are added, not averaged", ("return parts", "return parts / 2")
        ),
        "not smoothed": kernel_slip(
            "alpha has no effect: the label of a real logit l is alpha, so its loss has - alpha * l",
            ("(real, alpha)", "(real, 1.0)"),
        ),
        "fakes smoothed too": kernel_slip(
            "the label of a fake is 0; in yours it is 1 - alpha. Smooth on one side only",
            ("(fake, 0.0)", "(fake, 1 - alpha)"),
        ),
        "log D of the fakes": kernel_slip(
            "your fakes have the label 1: they cost -log(1 - D), which is max(l, 0) + log(1 + exp(-|l|)) without a "
            "further term",
            ("(fake, 0.0)", "(fake, 1.0)"),
        ),
        "no maximum": kernel_slip(
            "the term max(l, 0) is missing: log(1 + exp(-|l|)) alone is the loss of a negative logit only",
            (LOSSES, "tail - label * filled"),
        ),
        "overflow": kernel_slip(
            "log(1 + exp(l)) overflows in float32 for l above 88: take max(l, 0) out of it, so that exp sees -|l| only",
            (LOSSES, "np.float64(np.log(1 + np.exp(np.float32(filled)))) - label * filled"),
        ),
    },
    edges={
        "one logit each": kernel_logits(1, 1, 0.9),
        "one more than a block": kernel_logits(1025, 3, 0.9),
        "logits at ±1000": sure(1000.0),
    },
    tells={
        "one logit each": ("no maximum", "not smoothed", "log D of the fakes"),
        "one more than a block": ("fakes smoothed too",),
    },
    moves=bytes_of_logits,
)

QUESTIONS = (
    DISCRIMINATOR_LOSS,
    DISCRIMINATOR_BACKWARD,
    GENERATOR_LOSS,
    GENERATOR_BACKWARD,
    OPTIMAL,
    JENSEN_SHANNON,
    BILINEAR,
    STEP,
    TRAIN,
    EXPLAIN,
    KERNEL,
)
