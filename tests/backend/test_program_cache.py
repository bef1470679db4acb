import os
import subprocess
import sys

import pytest

from nflow_cli.backend import programs

PROGRAM = "xla_compile_cache__1__2__XLA_CPU_JIT.pb"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    ends = []
    monkeypatch.setattr(programs.atexit, "register", lambda *end: ends.append(end))
    return ends


def begin():
    """Return the folder that a process that starts now uses, or None."""
    with programs.cache_enabled():
        flags = os.environ.get("TF_XLA_FLAGS")
    assert "TF_XLA_FLAGS" not in os.environ
    return flags and programs.Path(flags.split("=", 1)[1])


def end(home):
    for function, *arguments in home:
        function(*arguments)
    home.clear()


def kept(home, content=b"a program", name=PROGRAM):
    """Let a process compile a program and end; return the file that is left."""
    folder = begin()
    (folder / name).write_bytes(content)
    end(home)
    assert not folder.exists()
    return next(folder.parent.glob(f"{name}.*"))


def test_what_a_process_compiled_is_there_for_the_next_and_for_those_that_run(home):
    running = begin()
    kept(home, b"a program")
    assert (begin() / PROGRAM).read_bytes() == b"a program"
    assert not list(running.iterdir()) if running.exists() else True


@pytest.mark.parametrize("second", [b"a program", b"a program, written in another order"])
def test_of_two_that_were_compiled_at_once_one_is_taken(home, second):
    for content in (b"a program", second):
        (begin() / PROGRAM).write_bytes(content)
    end(home)
    assert (begin() / PROGRAM).read_bytes() in (b"a program", second)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:4]),
        lambda path: path.write_bytes(b"b" + path.read_bytes()[1:]),
        lambda path: path.rename(path.with_name(f"{PROGRAM}.0")),
    ],
    ids=["truncated", "altered", "of another name"],
)
def test_a_damaged_program_is_not_there_and_goes(home, spoil):
    spoil(kept(home))
    assert not list(begin().iterdir())
    end(home)
    assert kept(home).exists()


def test_a_link_is_not_followed(home, tmp_path):
    path = kept(home)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert not list(begin().iterdir())


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("spoil", ["open to a group", "a link"])
def test_a_folder_that_others_may_enter_or_a_link_is_not_used(home, level, spoil):
    folder = [kept(home).parent, *kept(home).parent.parents][level]
    if spoil == "a link":
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(folder.with_name("moved"))
    else:
        folder.chmod(0o750)
    assert begin() is None


def test_other_flags_threads_or_processors_have_other_programs(home, monkeypatch):
    path = kept(home)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    assert begin().parent != path.parent
    monkeypatch.delenv("XLA_FLAGS")
    with programs.cache_enabled(threads=1):
        assert str(path.parent) not in os.environ["TF_XLA_FLAGS"]
    monkeypatch.setattr(programs, "_processor", lambda: ["model name: another"])
    assert begin().parent != path.parent


def test_the_users_own_arrangement_and_the_wish_for_none_stand(monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", f"{programs.DIRECTORY}=/somewhere")
    with programs.cache_enabled():
        assert os.environ["TF_XLA_FLAGS"] == f"{programs.DIRECTORY}=/somewhere"
    monkeypatch.delenv("TF_XLA_FLAGS")
    monkeypatch.setenv("NFLOW_CACHE", "off")
    assert begin() is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NFLOW_CACHE", str(tmp_path / "file"))
    assert begin() is None


def test_the_oldest_go_where_there_are_too_many(home, monkeypatch):
    monkeypatch.setattr(programs, "MAX_BYTES", 25)
    paths = [kept(home, b"0123456789", name) for name in ("a.pb", "b.pb", "c.pb")]
    for age, path in enumerate(paths):
        if path.exists():
            os.utime(path, (1000 + age, 1000 + age))
    assert {path.name for path in begin().iterdir()} == {"b.pb", "c.pb"}


def test_what_a_killed_process_left_goes_after_a_day(home):
    folder = begin()
    begin()
    assert folder.exists()
    os.utime(folder, (0, 0))
    begin()
    assert not folder.exists()


PRINTED = """
from nflow_cli.backend.start import start_tensorflow
start_tensorflow()
import tensorflow as tf
print(float(tf.function(lambda x: x * 3 + 1, jit_compile=True)(tf.constant(2.0))))
"""


@pytest.mark.slow
def test_processes_that_start_at_once_and_after_each_other_compute_the_same(tmp_path):
    def start():
        words = [sys.executable, "-c", PRINTED]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(*processes):
        assert {process.communicate()[0].strip() for process in processes} == {"7.0"}

    finish(start(), start())
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.pb.*")}
    assert kept
    finish(start())
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.pb.*")}
    assert again == kept  # nothing was compiled
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    finish(start())
    assert all(path.stat().st_size > 100 for path in kept)
