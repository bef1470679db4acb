import io

import numpy as np
import pytest
from pictures import title
from whole_tables import KINDS, cells

from nflow_cli import plotting
from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.evaluation.pit import pit


def draw(kinds, rows, draws, given=0):
    rng = np.random.default_rng(0)
    modelled = list(kinds)[given:]
    values = rng.random((len(rows), len(modelled)))
    evaluation = {"rows": rows, "draws": draws, "pit": values}
    subject = "mine.csv, cells 128 × 2"
    judged = pit(values, modelled)
    return plotting.whole_table_figures(kinds, evaluation, judged, subject, n_given=given)


def test_a_table_of_every_kind_has_four_pictures_with_given_columns_in_the_dependence_alone():
    figures = draw(KINDS, cells(300), cells(300, 1), given=2)
    assert list(figures) == ["marginals", "dependence", "pairs", "pit"]
    names = [ax.get_xlabel().split("\n")[0] for ax in figures["marginals"].axes if ax.get_xlabel()]
    assert names == list(KINDS)[2:]
    assert len(figures["dependence"].axes[0].get_xticks()) == len(KINDS)
    for figure in figures.values():
        assert title(figure).startswith("mine.csv, cells 128 × 2")
        plotting.save_figure(figure, io.BytesIO(), "svg")


def test_one_column_has_two_pictures():
    kinds = {"x": ColumnKind(kind="number")}
    rows = np.random.default_rng(0).normal(size=(100, 1))
    assert list(draw(kinds, rows, rows)) == ["marginals", "pit"]


NAMES = ["5 $ each$", r"\$\frac{1}{0}$", "a\x1b[31m\nb", "住宅", "", "x" * 1_000]


@pytest.mark.parametrize("kind", ["levels", "number"])
def test_names_of_a_stranger_are_drawn(kind):
    levels = [*NAMES[:4], "y" * 1_000]
    one = ColumnKind(kind=kind, levels=levels if kind == "levels" else None)
    rows = np.random.default_rng(0).integers(0, 5, (100, len(NAMES))).astype(float)
    figures = draw(dict.fromkeys(NAMES, one), rows, rows)
    for name in ("marginals", "dependence", "pit"):
        plotting.save_figure(figures[name], io.BytesIO(), "png")


def test_equal_arrays_give_equal_files():
    some = {name: KINDS[name] for name in ("species", "city", "answer", "rain")}
    files = []
    for _ in range(2):
        figures = draw(some, cells(200)[:, :4], cells(200, 1)[:, :4])
        file = io.BytesIO()
        for name in ("marginals", "pairs"):
            plotting.save_figure(figures[name], file, "svg")
        files.append(file.getvalue())
    assert files[0] == files[1]
