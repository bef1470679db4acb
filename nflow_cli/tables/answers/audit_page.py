"""Page of an audit of synthetic rows: figures, pictures, and what they do not show."""

import io
from pathlib import Path
from typing import Any

from nflow_cli.constants import __version__
from nflow_cli.experiments.run_report import document, embedded, figure, paragraph, section, table
from nflow_cli.runs.files import replaced
from nflow_cli.tables.answers.audit_answer import Audit, Audited, leak_rows, likeness_rows
from nflow_cli.text import printable

MOST_ROWS = 20_000  # of a picture
# What a figure does not show, in a sentence each.
OF_LIKENESS = (
    "columns and pairs: 1 minus the total variation distance to the training rows, of numbers in "
    "eight bins. Relations of three columns or more do not count.",
    "told apart: AUC of boosted trees between draws and holdout rows, 0.5 if nothing tells them "
    "apart. It depends on the number of rows, and says not what is wrong.",
    "predictions: 0 is no skill, 1 perfect. What a model of another kind would learn is not shown.",
    "outside, rules: values that no training row has are no error by themselves: holdout rows have "
    "some.",
)
OF_LEAKS = (
    "Were draws made without their training rows, each rate would be that of holdout rows; the "
    "interval is of 95 %, by permutations of the labels of the pooled rows. A rate without a "
    "difference is no proof of privacy: an attack that is not tried here may succeed.",
    "copies, near copies: of a table of few values also rows that are not fitted have copies.",
    "nearness: a share of draws. What of single rows can be learnt it does not show.",
    "singling out, linkability, inference: attacks of Giomi et al. (2023, arXiv 2211.10459), by an "
    "attacker who has the draws, and of a row some cells.",
    "of the run, exposed: what someone who holds the run can learn, a lower bound; of the draws "
    "alone only the rates above speak.",
)


def write_page(tables: Audited, audit: Audit, path: str) -> None:
    """Write an audit as a self-contained page of HTML."""
    from nflow_cli.tables.pictures.audit_figures import leaks_figure, likeness_figures

    names = ", ".join(printable(Path(name).name) for name in tables.names)
    rows = tables.holdout[:MOST_ROWS]
    draws = tables.draws[0][:MOST_ROWS]
    likeness = likeness_figures(tables.kinds, rows, draws, names)
    captions = {
        "marginals": "Columns of holdout rows and draws, those that differ most.",
        "dependence": "Associations of columns, in holdout rows and in draws.",
        "pairs": "Pairs of columns: the most associated, and those that differ most.",
    }
    leaks = leaks_figure(audit.leaks, names)
    sizes = ", ".join(f"{n:,}" for n in audit.n_draws)
    parts = [
        f"<header><h1>Audit of {names}</h1>",
        paragraph(
            f"{sizes} draws, {audit.n_train:,} training and {audit.n_holdout:,} holdout rows",
            "soft",
        ),
        "</header>",
        section(
            "Likeness to real rows",
            [
                table(likeness_rows(audit)),
                *(_picture(picture, name, captions[name]) for name, picture in likeness.items()),
                *(paragraph(text, "soft") for text in OF_LIKENESS),
            ],
        ),
        section(
            "What the draws tell of training rows",
            [
                table(leak_rows(audit)),
                _picture(leaks, "leaks", "Rates on training rows less those on holdout rows."),
                *(paragraph(text, "soft") for text in OF_LEAKS),
            ],
        ),
        f"<footer>Written by nflow {__version__} in {audit.seconds:.0f} s.</footer>",
    ]
    with replaced(Path(path)) as unfinished:
        unfinished.write_text(document(f"Audit of {names}", parts), encoding="utf-8")


def _picture(picture: Any, name: str, caption: str) -> str:
    """Picture of a figure of matplotlib, in the page itself."""
    from nflow_cli.plotting.style import save_figure

    file = io.BytesIO()
    save_figure(picture, file, "png")
    uri, width = embedded(file.getvalue(), name)
    return figure(uri, width, name, caption)
