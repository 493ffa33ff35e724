"""Bugs that real regularization code has had are planted, one at a time: a law of the suite must notice each.

Here are those of the library's core; the bugs of each method are planted in the tests of that method.
"""

from functools import partial

import pytest
import test_layers
import test_losses
import test_optimizers
import test_penalties
import test_statistics
import test_streams
import test_training
from planting import Bug, check_noticed

from regularize import losses, statistics, training
from regularize.activations import ReLU, Tanh
from regularize.layers import Dense
from regularize.network import Network
from regularize.optimizers import SGD, Adam
from regularize.penalties import L1, L2, ElasticNet
from regularize.streams import Streams


def gradients(make):
    return partial(test_layers.law_gradients_are_those_of_finite_differences, make, (3,))


def loss_gradient(name):
    return partial(test_losses.law_the_gradient_is_that_of_finite_differences, name, ())


def fit(right, wrong, law):
    """The laws of training call ``fit`` by its name in their own module."""
    return Bug(test_training, "fit", right, wrong, law)


alone = test_training.law_a_member_is_the_network_trained_alone
draws_alone = partial(test_streams.law_a_member_draws_as_if_alone, [4, 1], test_streams.DRAWS["normal"])
biases = test_training.law_penalties_leave_biases_alone
epoch = partial(test_training.law_an_epoch_visits_every_example_once, 9, 4)
seams = partial(test_training.test_every_seam_is_called_in_its_place, False)
lasso = test_training.law_proximal_descent_reaches_the_lasso_with_exact_zeros
minimum = partial(test_penalties.law_prox_minimizes_its_objective, 1.0, 0.5, 0.1, 0.7)
overflow = test_losses.law_large_logits_neither_overflow_nor_vanish

STEP = "                optimizer.step(net.theta, net.grad)\n"
CLIP = "                if clip:\n                    clip(net)\n"
DECAY = "                if decay:\n                    decay(net, optimizer.learning_rate)\n"

BUGS = {
    # activations and layers
    "ReLU's derivative is taken at the output, with >=": Bug(
        ReLU, "forward", "self.on = x > 0\n    return x * self.on",
        "self.on = np.maximum(x, 0) >= 0\n    return np.maximum(x, 0)", gradients(ReLU),
    ),
    "ReLU has derivative 1 at 0": Bug(
        ReLU, "forward", "x > 0", "x >= 0", test_layers.law_relu_has_derivative_zero_at_zero
    ),
    "tanh's derivative lacks the square": Bug(
        Tanh, "backward", "1 - self.y * self.y", "1 - self.y", gradients(Tanh)
    ),
    "the bias's gradient is averaged": Bug(
        Dense, "backward", "np.sum(", "np.mean(", gradients(test_layers.LAYERS["Dense"])
    ),
    "gradients pile up from step to step": Bug(
        Dense, "backward", "np.matmul(transpose(self.x), g, out=self.dW)", "self.dW += transpose(self.x) @ g",
        test_layers.test_backward_replaces_the_gradient_of_the_step_before,
    ),
    "biases are penalized": Bug(
        Network, "_make_views", "name in layer.penalized", "True", partial(biases, L2(0.1), False)
    ),
    # losses
    "the gradient is summed over the batch": Bug(
        losses, "cross_entropy", "y) / z.dtype.type(z.shape[-2])", "y)", loss_gradient("cross_entropy")
    ),
    "squared error's gradient lacks its 2": Bug(
        losses, "squared_error", "2 * r /", "r /", loss_gradient("squared_error")
    ),
    "squared error is averaged over the outputs": Bug(
        losses, "squared_error", "(r * r).sum(-1)", "(r * r).mean(-1)",
        test_losses.law_the_value_is_the_formula,
    ),
    "softmax of large logits overflows": Bug(
        losses, "cross_entropy", "z = z - z.max(-1, keepdims=True)", "z = z - 0", overflow
    ),
    "the logarithm of a softmax that is 0": Bug(
        losses, "cross_entropy", "np.log(total) - (y * z).sum(-1, keepdims=True)",
        "-(y * np.log(e / total)).sum(-1, keepdims=True)", overflow,
    ),
    # penalties
    "L2's gradient lacks its 2": Bug(
        ElasticNet, "gradient", "2 * per_member", "per_member",
        test_optimizers.law_sgd_with_l2_shrinks_by_two_lr_lambda,
    ),
    "L1's value is the Euclidean norm": Bug(
        ElasticNet, "value", "np.abs(w).sum(-1)", "np.sqrt((w * w).sum(-1))",
        test_penalties.law_values_are_sums_of_absolute_values_and_of_squares,
    ),
    "L1's proximal step never stops at zero": Bug(
        ElasticNet, "prox", "np.maximum(np.abs(w) - threshold, 0)", "(np.abs(w) - threshold)",
        test_penalties.law_l1_prox_sets_small_weights_to_exactly_zero,
    ),
    "L1's threshold forgets the step size": Bug(
        ElasticNet, "prox", "self.l1 * np.asarray(step)", "self.l1", minimum
    ),
    "L2's proximal step lacks its 2": Bug(ElasticNet, "prox", "1 + 2 *", "1 +", minimum),
    "the proximal step shrinks biases": Bug(
        ElasticNet, "prox", "threshold = per_member(self.l1 * np.asarray(step), w) * mask",
        "threshold = per_member(self.l1 * np.asarray(step), w)", partial(biases, L1(0.01), True),
    ),
    # optimizers
    "momentum damps the new gradient by 1 - m": Bug(
        SGD, "step", "* self.velocity + step",
        "* self.velocity + (1 - per_member(self.momentum, theta)) * step",
        test_optimizers.law_momentum_sums_a_geometric_series,
    ),
    "Adam without bias correction": Bug(
        Adam, "step", "np.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)", "1.0",
        partial(test_optimizers.law_the_first_step_of_adam_has_the_size_of_the_learning_rate, 1.0),
    ),
    "Adam's epsilon stands beside the corrected root": Bug(
        Adam, "step", "per_member(self.epsilon, theta)",
        "per_member(self.epsilon, theta) * np.sqrt(1 - self.beta2**self.t)",
        test_optimizers.law_adam_is_its_formula,
    ),
    "Adam's epsilon stands under the root": Bug(
        Adam, "step", "np.sqrt(self.v)", "np.sqrt(self.v + self.epsilon)",
        test_optimizers.law_adam_is_its_formula,
    ),
    # random streams
    "members share one stream": Bug(
        Streams, "normal", "in self._generators", "in self._generators[:1] * len(self._generators)",
        draws_alone,
    ),
    "a member's stream depends on its neighbours": Bug(
        Streams, "__init__", "SFC64([s, key])", "SFC64([distinct.index(s), key])", draws_alone
    ),
    "unsorted seeds receive each other's numbers": Bug(
        Streams, "__init__", "list(dict.fromkeys(flat))", "sorted(set(flat))", draws_alone
    ),
    "all purposes share one stream": Bug(
        Streams, "__init__", "SFC64([s, key])", "SFC64([s, 0])",
        test_streams.test_streams_differ_between_seeds_purposes_and_draws,
    ),
    "float32 draws other numbers": Bug(
        Streams, "normal", "standard_normal(shape)", "standard_normal(shape, dtype)",
        test_streams.test_both_precisions_see_the_same_numbers,
    ),
    "all members see the same order": Bug(
        Streams, "permutation", "[g.permutation(n) for g in self._generators]",
        "[self._generators[0].permutation(n)] * len(self._generators)", alone,
    ),
    "examples are not shuffled": Bug(Streams, "permutation", "g.permutation(n)", "np.arange(n)", epoch),
    # training
    "the last small batch is dropped": fit(
        "range(0, n, batch_size)", "range(0, n - batch_size + 1, batch_size)", epoch
    ),
    "targets do not follow their examples": fit("take(y, rows)", "take(y, np.sort(rows, -1))", epoch),
    "the penalty is divided by the batch size": fit(
        "net.grad += penalty", "net.grad += 1 / batch_size * penalty",
        partial(test_training.law_fit_follows_the_gradient_of_the_objective, (), "cross_entropy", L2(0.05)),
    ),
    "the penalty acts on all parameters": fit(
        "penalty.gradient(net.theta, net.penalized)", "penalty.gradient(net.theta)",
        partial(biases, L2(0.1), False),
    ),
    "L1 takes gradient steps where proximal ones were asked for": fit(
        "net.theta[...] = penalty.prox(net.theta, optimizer.learning_rate, net.penalized)",
        "optimizer.step(net.theta, penalty.gradient(net.theta, net.penalized))", lasso,
    ),
    "the proximal step has size 1": fit("optimizer.learning_rate, net", "1.0, net", lasso),
    "gradients are clipped after the update": fit(CLIP + DECAY + STEP, DECAY + STEP + CLIP, seams),
    "training runs in evaluation mode": Bug(
        training, "backpropagate", "net(x, train=True)", "net(x)", seams
    ),
    "divergence goes unnoticed": fit(
        "    _check_finite(net, diverged)\n", "",
        test_training.test_diverged_members_are_named_and_the_others_are_trained,
    ),
    "evaluation runs in training mode": Bug(
        training, "predict", "batch_size, :])", "batch_size, :], train=True)",
        test_training.law_prediction_is_in_evaluation_mode,
    ),
    "labels that are no probabilities pass": Bug(
        training, "check_data", "loss is cross_entropy", "False",
        partial(test_training.law_a_refused_fit_changes_nothing, "y", {"y": 2 * test_training.Y}),
    ),
    # statistics
    "the interval takes the normal distribution's 1.96": Bug(
        statistics, "interval", "stats.t.ppf(0.5 + level / 2, len(v) - 1)", "stats.norm.ppf(0.5 + level / 2)",
        partial(test_statistics.law_intervals_cover_the_truth, 3),
    ),
    "the spread is divided by n": Bug(
        statistics, "interval", "ddof=1", "ddof=0", test_statistics.law_an_interval_is_that_of_a_t_test
    ),
    "arms that share seeds are compared unpaired": Bug(
        statistics, "paired_difference", "interval(a - b, level)", "interval(a - np.sort(b), level)",
        test_statistics.law_what_arms_share_cancels,
    ),
    "three seeds are enough for a verdict": Bug(
        statistics, "verdict", "FEWEST_SEEDS:", "3:", test_statistics.law_few_seeds_have_no_verdict
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
