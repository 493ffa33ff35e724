"""The exercises answer back: right answers pass, and every usual mistake gets the message that names it."""

import contextlib
import importlib
import io
import pkgutil
import re
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from regularize import exercises
from regularize.exercises import diagnose, report
from regularize.exercises import overfitting as over

# --- The exercises: each chapter's answers are in a module of their own -----------------------------------


def modules():
    return [
        importlib.import_module(m.name)
        for m in pkgutil.iter_modules(exercises.__path__, "regularize.exercises.")
    ]


def stem(module):
    return module.__name__.rpartition(".")[2]


EXERCISES = [e for m in modules() for e in importlib.import_module(f"answers_{stem(m)}").EXERCISES]
MISTAKES = [
    pytest.param(e, words, wrong, id=f"{e}-{words.replace(' ', '_')}")
    for e in EXERCISES
    for words, wrong in e.mistakes
]
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=str)

# What a reader's value or function may also be.
scalars = (
    st.none()
    | st.just(...)
    | st.booleans()
    | st.text(max_size=5)
    | st.sampled_from(["75", b"75", "nan", 10**400, -(2**63), 2**64, "x" * 10**5, object(), len])
    | st.floats()
    | st.complex_numbers()
    | st.sampled_from([Fraction(1, 3), Decimal("0.5"), datetime(2020, 1, 1), np.longdouble("1e4000"), int])
)
arrays = hnp.arrays(
    hnp.scalar_dtypes() | st.just(np.dtype(object)), hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
)
nested = st.recursive(
    scalars | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)
huge_view = np.broadcast_to(np.int8(1), (10**6, 10**6))  # 8 TB, if anybody converts it to floats


def verdict(check, *answer):
    """What a check prints about an answer."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        check(*answer)
    said = out.getvalue()
    assert max(map(len, said.splitlines())) <= 76 or " " not in said  # it fits the page
    return " ".join(said.split()) + "\n"


def listed(exercise, monkeypatch):
    """The messages of the mistakes that a check hands to `diagnose`."""
    seen = []
    module = importlib.import_module(exercise.check.__module__)
    with monkeypatch.context() as patch:
        patch.setattr(
            module, "diagnose", lambda *args, mistakes, **kwargs: seen.extend(m for _, m in mistakes)
        )
        exercise.check(None)
    return seen


# --- The whole ----------------------------------------------------------------------------------------------


def test_every_check_of_every_chapter_is_tested_here():
    checks = {c for m in modules() for name, c in vars(m).items() if name.startswith("check_")}
    assert checks == {e.check for e in EXERCISES} | {over.check_peak}


@pytest.mark.parametrize("module", modules(), ids=stem)
def test_the_skeletons_of_the_chapter_are_not_yet_right_and_say_why(module, root):
    text = (root / "chapters" / f"{stem(module).replace('_', '-')}.md").read_text(encoding="utf-8")
    skeletons = re.findall(r"^(def (\w+)\(.*\):\s+\.\.\.)\n+exercises\.(check_\w+)\(\2\)", text, re.M)
    assert {check for *_, check in skeletons} == {
        e.check.__name__ for e in EXERCISES if e.check.__module__ == module.__name__
    }
    for code, name, check in skeletons:
        namespace = {}
        exec(code, namespace)
        assert verdict(getattr(module, check), namespace[name]).startswith(
            "Not yet: the function returns nothing. Replace the `...`"
        )


def test_a_report_is_praise_or_the_problem():
    assert verdict(report, None, "Well done.") == "Correct. Well done.\n"
    assert verdict(report, "it is wrong.", "Well done.") == "Not yet: it is wrong.\n"


# --- Every check that takes a function ----------------------------------------------------------------------


@every_exercise
def test_the_right_answer_is_correct(exercise):
    assert verdict(exercise.check, exercise.right).startswith("Correct. ")


@pytest.mark.parametrize(("exercise", "words", "wrong"), MISTAKES)
def test_a_usual_mistake_gets_its_own_message(exercise, words, wrong, monkeypatch):
    (message,) = (m for m in listed(exercise, monkeypatch) if words in m)
    assert verdict(exercise.check, wrong) == f"Not yet: {message}\n"


@every_exercise
def test_every_mistake_that_a_check_knows_is_made_here(exercise, monkeypatch):
    messages = listed(exercise, monkeypatch)
    assert len(messages) == len(exercise.mistakes)
    assert all(any(words in m for words, _ in exercise.mistakes) for m in messages)


@every_exercise
def test_nothing_but_zeros_is_no_usual_mistake(exercise):
    """A first stub. A mistake that gives 0 on every case would be blamed for it."""

    def zeros(*args):
        got = exercise.right(*args)
        return tuple(np.zeros_like(g) for g in got) if isinstance(got, tuple) else np.zeros_like(got)

    assert re.match(r"Not yet: .*expected .*, got .*0", verdict(exercise.check, zeros))


def changed(right, change, position):
    """The right answer with ``change`` made to one of its numbers, the one at ``position`` in a row."""

    def answer(*args):
        got = right(*args)
        parts = got if isinstance(got, tuple) else (got,)
        flat = np.concatenate([np.ravel(p) for p in parts]).astype(float)
        flat[position % flat.size] = change(flat[position % flat.size])
        ends = np.cumsum([np.size(p) for p in parts])[:-1]
        back = tuple(f.reshape(np.shape(p)) for f, p in zip(np.split(flat, ends), parts, strict=True))
        return back if isinstance(got, tuple) else back[0]

    return answer


@every_exercise
@pytest.mark.parametrize("position", range(4))
def test_a_slightly_wrong_number_is_refused_and_shown(exercise, position):
    # Relative to what is there, except that a 0 has to be changed by something.
    said = verdict(exercise.check, changed(exercise.right, lambda v: v * 1.001 if v else 1e-3, position))
    want, got = re.fullmatch(r"Not yet: .*?expected (.*), got (.*) \(on .*\)\.\n", said).groups()
    assert want != got


@every_exercise
@pytest.mark.parametrize("position", range(4))
def test_rounding_is_forgiven(exercise, position):
    rounded = changed(exercise.right, lambda v: v * (1 + 1e-12) + 1e-15, position)
    assert verdict(exercise.check, rounded).startswith("Correct.")


@every_exercise
def test_nan_is_named(exercise):
    said = verdict(exercise.check, changed(exercise.right, lambda v: np.nan, 0))
    assert re.match(r"Not yet: .*expected .*, got .*nan", said)


@every_exercise
def test_returning_nothing_is_named(exercise):
    for nothing in (None, ...):
        said = verdict(exercise.check, lambda *args, nothing=nothing: nothing)
        assert said.startswith("Not yet: the function returns nothing. Replace the `...`")


@every_exercise
def test_an_exception_is_shown(exercise):
    def answer(*args):
        raise ZeroDivisionError("of all things")

    assert "your function raised ZeroDivisionError: of all things (on " in verdict(exercise.check, answer)
    assert "your function raised TypeError: " in verdict(exercise.check, lambda: 1.0)


@every_exercise
def test_a_wrong_type_is_named(exercise):
    assert verdict(exercise.check, ...) == "Not yet: expected a function, got ellipsis.\n"
    said = verdict(exercise.check, lambda *args: {"w": 1.0})
    assert re.match(r"Not yet: expected (real numbers, got|\d values, got one) dict \(on ", said)


def converted(got, kind):
    return (
        tuple(np.array(g).astype(kind) for g in got) if isinstance(got, tuple) else np.array(got).astype(kind)
    )


@every_exercise
def test_text_and_complex_numbers_are_not_numbers(exercise):
    for kind in (str, complex):
        said = verdict(exercise.check, lambda *args, kind=kind: converted(exercise.right(*args), kind))
        assert re.match(
            r"Not yet: (in value 1 of \d: )?expected real numbers, got (ndarray of|str_|complex)", said
        )


@every_exercise
def test_a_wrong_shape_is_named(exercise):
    def column(*args):
        got = exercise.right(*args)
        return (
            tuple(np.expand_dims(g, -1) for g in got) if isinstance(got, tuple) else np.expand_dims(got, -1)
        )

    said = verdict(exercise.check, column)
    assert re.match(r"Not yet: (in value 1 of \d: )?expected shape \(.*\), got \(.*1,?\) \(on ", said)


@every_exercise
def test_an_input_changed_in_place_is_named_though_the_answer_is_right(exercise):
    changed = []

    def answer(*args):
        got = exercise.right(*args)
        for a in args:
            if isinstance(a, np.ndarray) and a.size:
                a[...] = ~a if a.dtype == bool else a + 1
                changed.append(a)
        return got

    said = verdict(exercise.check, answer)
    if changed:
        assert re.match(r"Not yet: your function changed its argument number \d in place; ", said)
    else:  # its inputs are plain numbers
        assert said.startswith("Correct.")


@every_exercise
@settings(max_examples=20)
@given(value=nested)
def test_no_answer_makes_a_check_raise(exercise, value):
    said = verdict(exercise.check, lambda *args: value)
    assert said.startswith("Not yet: ")
    assert len(said) < 500


@every_exercise
@settings(max_examples=5)
@given(value=nested.filter(lambda v: not callable(v)))
def test_no_value_in_place_of_a_function_makes_a_check_raise(exercise, value):
    assert re.fullmatch(r"Not yet: expected a function, got \w+\.\n", verdict(exercise.check, value))


@every_exercise
def test_numbers_too_long_to_print_make_no_check_raise(exercise):
    assert verdict(exercise.check, lambda *args: 10**5000).startswith("Not yet: expected ")


# --- diagnose -----------------------------------------------------------------------------------------------


WANTS = [3.0, np.arange(3.0), np.ones((2, 2)), (1.0, np.arange(2.0)), (1.0, 2.0, 3.0)]


@pytest.mark.parametrize("want", WANTS, ids=str)
@settings(max_examples=150)
@example(value=huge_view)
@example(value=[huge_view, huge_view])
@given(value=nested)
def test_diagnose_has_a_word_for_every_value(want, value):
    problem = diagnose(lambda a: value, lambda a: want, [(1.0,)])
    if problem is None:  # then it must really be right
        for got, w in zip(value, want, strict=True) if isinstance(want, tuple) else [(value, want)]:
            np.testing.assert_allclose(np.asarray(got, float), w, rtol=1e-8, atol=1e-8)
    else:
        assert re.search("expected|returns nothing", problem)
        assert len(problem) < 300


def test_diagnose_looks_at_every_case():
    cases = [(1.0,), (2.0,), (3.0,)]
    problem = diagnose(lambda a: a if a < 3 else 0.0, lambda a: a, cases)
    assert problem == "expected 3, got 0 (on 3)."


def test_a_mistake_must_fit_every_case():
    """One equal number is no diagnosis: the second answer agrees with the mistake on the first case alone."""
    mistake = (lambda a: 2 * a, "you doubled it.")
    assert diagnose(lambda a: 2 * a, lambda a: a, [(1.0,), (3.0,)], [mistake]) == "you doubled it."
    assert diagnose(lambda a: 2.0, lambda a: a, [(1.0,), (3.0,)], [mistake]) == "expected 1, got 2 (on 1)."


def test_an_answer_that_sometimes_raises_is_told_so():
    problem = diagnose(lambda a: 2 / (a - 3), lambda a: a, [(2.0,), (3.0,)], [(lambda a: -a, "no.")])
    assert problem == "expected 2, got -2 (on 2)."
    problem = diagnose(lambda a: a / (a - 3) * (a - 3), lambda a: a, [(2.0,), (3.0,)])
    assert problem == "your function raised ZeroDivisionError: float division by zero (on 3)."


def test_the_first_wrong_value_of_a_tuple_is_numbered():
    problem = diagnose(lambda a: (a, a, a), lambda a: (a, 2 * a, 3 * a), [(1.0,)])
    assert problem == "in value 2 of 3: expected 2, got 1 (on 1)."
    assert diagnose(lambda a: [a], lambda a: (a, a), [(1.0,)]) == "expected 2 values, got 1 (on 1)."
    assert diagnose(lambda a: a, lambda a: (a, a), [(1.0,)]) == "expected 2 values, got one float (on 1)."
    problem = diagnose(lambda a: np.array(a), lambda a: (a, a), [(1.0,)])
    assert problem == "expected 2 values, got one ndarray (on 1)."


def test_a_long_array_is_shown_where_it_is_most_wrong():
    def answer(a):
        return a + np.array([0, 0, 1e-4, 0, 0, 0, 0, 2.0])

    problem = diagnose(answer, lambda a: a, [(np.zeros(8),)])
    assert problem == "expected 0 at index 7, got 2 (on an array of shape (8,))."


def test_two_numbers_that_print_alike_are_told_apart():
    problem = diagnose(lambda a: a * (1 + 1e-7), lambda a: a, [(2.0,)])
    assert problem == "expected 2, got 2.0000002 (on 2)."


def test_the_reader_never_meets_minus_zero():
    assert diagnose(lambda a: np.ones(2), lambda a: a, [(np.array([-0.0, 0.0]),)]).startswith(
        "expected [0., 0.]"
    )


def test_a_case_is_not_changed_by_the_answer():
    """Neither for the next answer, nor for the mistakes that this one is compared with."""

    def answer(a):
        a *= 2
        return a

    case = (np.array([1.0, 2.0]),)
    assert diagnose(answer, lambda a: a, [case], [(lambda a: 2 * a, "you doubled it.")]) == "you doubled it."
    np.testing.assert_array_equal(case[0], [1.0, 2.0])


# --- Reading the peak off a measured curve ------------------------------------------------------------------

ERROR, FEATURES = [0.3, 0.5, 0.9, 0.6, 0.2], (25, 50, 75, 100, 300)


@pytest.mark.parametrize("guess", [75, 75.0, np.int64(75), np.array(75), 64, 86])
def test_the_peak_may_be_read_to_15_percent(guess):
    assert verdict(over.check_peak, guess, ERROR, FEATURES).startswith("Correct. ")


@pytest.mark.parametrize("guess", [25, 63, 87, 300, -75, -(2**63), np.nan, np.inf, True])
def test_another_place_is_not_the_peak(guess):
    said = verdict(over.check_peak, guess, ERROR, FEATURES)
    assert said.startswith(f"Not yet: the measured error at {guess:g} features is not the highest. ")


def test_the_peak_moves_with_the_measurement():
    assert verdict(over.check_peak, 300, np.sort(ERROR), np.array(FEATURES)).startswith("Correct. ")
    assert verdict(over.check_peak, 75, np.sort(ERROR), np.array(FEATURES)).startswith("Not yet: ")


@pytest.mark.parametrize(
    "guess", [..., None, "75", b"75", 75j, [75], np.array([75]), {75}, lambda: 75, 10**400]
)
def test_the_peak_is_one_number(guess):
    said = verdict(over.check_peak, guess, ERROR, FEATURES)
    assert said == "Not yet: expected one number, the count of features where you see the peak.\n"


@settings(max_examples=300)
@given(guess=nested)
def test_no_guess_makes_the_check_of_the_peak_raise(guess):
    said = verdict(over.check_peak, guess, ERROR, FEATURES)
    assert said.startswith("Not yet: ") or abs(guess - 75) <= 0.15 * 75
