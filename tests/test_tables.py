import numpy as np
import pytest

from regularize.statistics import Interval
from regularize.tables import print_table


def test_columns_line_up_and_values_keep_their_format(capsys):
    print_table(
        {"setting": "s", "n": "d", "loss": ".3f", "gap": "+.2f"},
        [
            ("plain", 50, 0.5, Interval(0.123, 0.04, 32)),
            ("with a penalty", 1000, np.float64(1.25), Interval(-1, 0.5, 32)),
        ],
    )
    assert capsys.readouterr().out == (
        "setting            n   loss           gap\n"
        "plain             50  0.500  +0.12 ± 0.04\n"
        "with a penalty  1000  1.250  -1.00 ± 0.50\n"
    )


@pytest.mark.parametrize(
    ("rows", "message"), [([], "at least one row"), ([(1,)], "2 values in each row, got 1")]
)
def test_rows_that_do_not_fit_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        print_table({"a": "d", "b": "d"}, rows)
