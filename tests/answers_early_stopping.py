"""Readers' answers to the exercises of "Early stopping": right ones, and each usual mistake."""

import math
from itertools import pairwise

import numpy as np
from exercise import Exercise

from regularize.early_stopping import Patience
from regularize.exercises import early_stopping as stop


def patience(losses, patience):
    stops = Patience(patience).stop_epochs(losses)
    return [int(stops.stopped_epoch), int(stops.best_epoch)]


def compared_with_the_one_before(losses, patience):
    waited, best = 0, 0
    for epoch, (before, now) in enumerate(pairwise(losses), start=1):
        waited, best = (0, epoch) if now < before else (waited + 1, best)
        if waited == patience:
            return epoch, best
    return 0, best


def without_the_best(losses, p):
    stopped, _ = patience(losses, p)
    return (stopped, stopped) if stopped else (0, len(losses) - 1)


def from_one(losses, p):
    stopped, best = patience(losses, p)
    return (stopped + 1 if stopped else 0), best + 1


def equal_is_better(losses, p):
    return patience(losses - 1e-6 * np.arange(len(losses)), p)


def freedom(h, eta, t):
    left = [math.prod([1 - 2 * eta * each] * t) for each in h]
    return len(h) - sum(left)


EXERCISES = [
    Exercise(
        stop.check_matching_lambda,
        lambda eta, t: 0.5 / eta / t,
        [
            ("half the squared error", lambda eta, t: 1 / t / eta),
            ("upside down", lambda eta, t: t * eta * 2),
            ("factor 2 twice", lambda eta, t: 0.25 / (t * eta)),
        ],
    ),
    Exercise(
        stop.check_patience,
        patience,
        [
            ("one epoch too long", lambda losses, p: patience(losses, p + 1)),
            ("an equal loss", equal_is_better),
            ("with the one before", compared_with_the_one_before),
            ("is the last one", without_the_best),
            ("count from 1", from_one),
        ],
    ),
    Exercise(
        stop.check_noisy_accuracy,
        lambda a, rho, k: a - rho * a + rho / (k - 1) - rho * a / (k - 1),
        [
            ("lucky cases", lambda a, rho, k: a - rho * a),
            ("among all k classes", lambda a, rho, k: rho / k + a * (1 - rho)),
            ("does not always meet", lambda a, rho, k: a + rho - 2 * a * rho),
            ("probability is 1 - a", lambda a, rho, k: a - rho * a + rho / (k - 1)),
        ],
    ),
    Exercise(
        stop.check_degrees_of_freedom,
        freedom,
        [
            ("lost the factor 2", lambda h, eta, t: freedom(h, eta / 2, t)),
            ("still *missing*", lambda h, eta, t: len(h) - freedom(h, eta, t)),
            ("limit of small steps", lambda h, eta, t: -np.expm1(-2 * eta * t * h).sum()),
            ("degrees of freedom of ridge", lambda h, eta, t: (h / (h + 0.5 / (eta * t))).sum()),
        ],
    ),
]
