"""The page of a sweep: what was varied, what came of it, and each run's own page. No Keras here."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nflow_cli import __version__
from nflow_cli.config import presets
from nflow_cli.config.naming import text_of
from nflow_cli.config.sweep_schema import SweepConfig
from nflow_cli.constants import SWEEP
from nflow_cli.errors import ConfigError, NflowError, RunDirectoryError
from nflow_cli.experiments import page
from nflow_cli.experiments.report import MAX_BYTES, pictures
from nflow_cli.experiments.rows import Rows
from nflow_cli.runs.directory import LOG, REPORT, RUN, RunDirectory
from nflow_cli.sweeps.compare import Group, Result, examples, read_result, tables_of
from nflow_cli.sweeps.plan import overlap, plan
from nflow_cli.sweeps.table import scores_table
from nflow_cli.text import command_line

COMPLETED, OTHERS = "completed", ("running", "interrupted", "diverged")
MAX_LOG = 4 * 2**20  # bytes of a log whose last line is looked for
MAX_LABEL = 80  # letters of a cell
JUDGED = 3  # rows of a verdict
MAX_PAGES = 9  # of densities
LENGTHS = (500, 100, 20)  # of tables, tried one after the other until the text is short enough
MAX_TEXT = MAX_BYTES // 2  # bytes: the pictures have the other half


class Line(NamedTuple):
    """A run of a sweep: its folder's name, how it ended, and why it has no scores, if it has none.

    ``page`` is the file in its folder that says more, or ""; ``result`` what is compared.
    """

    name: str
    status: str
    why: str
    page: str
    result: Result | None = None


def write_sweep_report(folder: RunDirectory) -> Path:
    """Write ``report.html`` of a sweep from what is in its folder, also while it is trained.

    One file that loads no other, of at most ``MAX_BYTES``; it links to the pages of its runs.

    Raises:
        NflowError: In one line: ``sweep.yaml`` is damaged, or the page cannot be written.
    """
    source = str(folder.path / SWEEP)
    sweep = presets.validate(folder.read_preset(SWEEP), source, {"sweep": SweepConfig})
    names, note = _names(folder, sweep)
    lines = [_line(folder, name) for name in names]
    tables = tables_of([line.result for line in lines if line.result])
    title = f"{folder.path.resolve().name}: nflow sweep"

    def parts(length: int, figures: Sequence[str]) -> list[str]:
        return [
            *_header(folder, sweep, lines, note),
            page.section("Varied", [page.table(_varied(sweep))]),
            page.section("Scores", _scores(tables, lines, length)),
            *_unfinished(lines, length),
            page.section("Pictures", figures),
            page.section("Runs with scores", _finished(lines, length)),
            page.section("Config", [page.code(presets.dump(sweep))]),
            page.section("To go on with it, or to repeat it", [page.code(_again(folder))]),
            f"<footer>Written by nflow {__version__} from the files of the sweep.</footer>",
        ]

    sizes = ((n, len(page.document(title, parts(n, [])).encode())) for n in LENGTHS)
    length, size = next(pair for pair in sizes if pair[1] <= MAX_TEXT or pair[0] == LENGTHS[-1])
    drawn_by = command_line(["nflow", "compare", str(folder.path)])
    figures = pictures(folder, _captions(tables), MAX_BYTES - size, drawn_by)
    return folder.write_text(REPORT, page.document(title, parts(length, figures)))


def _names(folder: RunDirectory, sweep: SweepConfig) -> tuple[list[str], str]:
    """Return the folders of the runs, those that have not begun as well, and what is not known."""
    with_runs = sorted(entry.name for entry in folder.path.iterdir() if (entry / RUN).is_file())
    try:
        planned = [run.name for run in plan(sweep, SWEEP)]
    except ConfigError as error:
        return with_runs, f"Runs that have not begun are not listed: {error}"
    return list(dict.fromkeys([*planned, *with_runs])), ""


def _line(folder: RunDirectory, name: str) -> Line:
    """Read what a run came to; one that is damaged costs the page nothing but that run."""
    more = ""
    try:
        run = folder.below(name)
        more = next((file for file in (REPORT, LOG) if run.has(file)), "")
        if not run.has(RUN):
            return Line(name, "not begun", _last_words(run), more)
        status = RunDirectory.open(str(run.path)).read_json(RUN).get("status")
        if status == COMPLETED:
            return Line(name, COMPLETED, "", more, read_result(run))
        if status not in OTHERS:
            raise RunDirectoryError(f"{run.path / RUN}: damaged: expected a status")
        return Line(name, str(status), _last_words(run), more)
    except NflowError as error:
        return Line(name, "damaged", str(error), more)


def _last_words(run: RunDirectory) -> str:
    """Return the last line of the log of a run, which says why it failed, or ""."""
    if not run.has(LOG):
        return ""
    try:
        lines = run.read(LOG, MAX_LOG).decode(errors="replace").split("\n")
    except NflowError as error:
        return str(error)
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("nflow: error: ") if said else ""


def _header(
    folder: RunDirectory, sweep: SweepConfig, lines: Sequence[Line], note: str
) -> list[str]:
    counts = Counter(line.status for line in lines)
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    return [
        f"<header><h1>{page.shown(folder.path.resolve().name)}</h1>",
        page.paragraph(f"nflow sweep, {len(lines):,} runs: {told}", "soft"),
        page.paragraph(sweep.description) if sweep.description else "",
        page.paragraph(note, "soft") if note else "",
        "</header>",
    ]


def _varied(sweep: SweepConfig) -> Rows:
    """Return what the runs are made of: presets, what all have, what differs, seeds."""
    names = [Path(name).stem for name in sweep.presets]
    values = [(key, ", ".join(map(_value, some))) for key, some in sorted(sweep.vary.items())]
    fixed = [(key, f"{_value(value)}, in every run") for key, value in sorted(sweep.set.items())]
    seeds = ", ".join(map(str, sweep.seeds)) or "the presets' own"
    return [("presets", ", ".join(names)), *values, *fixed, ("seeds", seeds)]


def _value(value: object) -> str:
    return text_of(value) or str(value)


def _scores(tables: Sequence[Sequence[Group]], lines: Sequence[Line], length: int) -> list[str]:
    """Return a table of the scores of each experiment, and what they cannot vouch for."""
    if not tables:
        return [page.paragraph("None yet: no run has finished.")]
    cells = {line.name: _linked(line) for line in lines}
    parts = [page.paragraph("A line for all runs that differ by their seeds alone.", "soft")]
    for groups in tables:
        header, rows = scores_table(groups)
        texts = [[page.shown(text, MAX_LABEL) for text in row[:-1]] for row in rows]
        best = (cells[group.best.run.path.name] for group in groups)
        parts += _grid(header, [[*row, cell] for row, cell in zip(texts, best)], length)
    shared = (overlap(g.seeds, g.restarts) for groups in tables for g in groups)
    parts += [page.paragraph(note, "soft") for note in dict.fromkeys(filter(None, shared))]
    reasons = examples(line.result for line in lines if line.result)
    if not reasons:
        return [*parts, page.paragraph("No caveats.", "soft")]
    whose = ((word, f"such as {name}: {reason}") for word, (name, reason) in reasons.items())
    return [*parts, page.caveat_list(whose)]


def _unfinished(lines: Sequence[Line], length: int) -> list[str]:
    """Return the section of the runs that have no scores, if there are some, and why."""
    rows = [
        [_linked(line), page.shown(line.status, MAX_LABEL), page.shown(line.why)]
        for line in lines
        if not line.result
    ]
    title = "Runs without scores"
    return [page.section(title, _grid(["run", "status", "why"], rows, length))] if rows else []


def _finished(lines: Sequence[Line], length: int) -> list[str]:
    """Return each run that has scores, with what it is judged by and what that is compared with."""
    verdicts = {
        _linked(line): dict(r.experiment.verdict(r.summary, r.caveats)[:JUDGED])
        for line in lines
        if (r := line.result)
    }
    header = list(dict.fromkeys(name for rows in verdicts.values() for name in rows))
    cells = [
        [run, *(page.shown(rows.get(name, ""), MAX_LABEL) for name in header)]
        for run, rows in verdicts.items()
    ]
    return _grid(["run", *header], cells, length)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], length: int) -> list[str]:
    """Return a table of at most so many rows, and how many it leaves out."""
    left_out = len(rows) - length
    note = f"{left_out:,} more are left out here; `nflow compare` tells of all."
    more = [page.paragraph(note, "soft")] if left_out > 0 else []
    return [page.grid(header, rows[:length]), *more]


def _linked(line: Line) -> str:
    return page.link(line.name, line.page) if line.page else page.shown(line.name)


def _captions(tables: Sequence[Sequence[Group]]) -> dict[str, str]:
    """Return what the pictures show that `nflow compare` draws of the groups, by their names."""
    measures = {m for groups in tables for m in groups[0].best.experiment.measures if m.judges}
    captions = {m.key: f"{m.name} ({m.unit}) against the number of flows." for m in measures}
    kinds = ["", *(f"-{groups[0].best.experiment.name}" for groups in tables)]
    captions |= dict.fromkeys(
        (f"training{kind}" for kind in kinds), "The courses of the trainings."
    )
    pages = ["densities", *(f"densities-{number}" for number in range(2, MAX_PAGES + 1))]
    return captions | dict.fromkeys(pages, "The targets, and the best fit of each line above.")


def _again(folder: RunDirectory) -> str:
    """Return the commands that train what has not ended, and all of it elsewhere."""
    words = ["nflow", "sweep", str(folder.path / SWEEP), "--output"]
    here, elsewhere = ([*words, str(folder.path)], [*words, "DIR"])
    return f"{command_line(here)}\n{command_line(elsewhere)}"
