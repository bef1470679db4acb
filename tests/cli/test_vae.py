import os
import re
import signal
import socket
import threading
import time

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from running import assert_same_run, run_where_keras_is_set_up_otherwise

from nflow_cli.cli import main
from nflow_cli.errors import NflowError
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.images import images, vae_training
from nflow_cli.runs.directory import RunDirectory

# In this process a command trains on the backend that Keras was imported with.
PICTURES = ("latent", "reconstructions", "samples", "manifold", "training")
SMOKE = ["--preset", "smoke", "--epochs", "2"]


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    """Keep MNIST out of reach: an empty cache, and an address that leads nowhere."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path.with_name(tmp_path.name + "-keras")))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(images, "URL", "https://nowhere.invalid/mnist.npz")


@pytest.fixture
def no_tensorflow(monkeypatch):
    """See to it that an error is found before TensorFlow is asked for."""
    monkeypatch.setattr(
        "nflow_cli.experiments.running.start_tensorflow", lambda *_: pytest.fail("too late")
    )


PART = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc"


@pytest.mark.parametrize(
    ("number", "code", "answer"), [(signal.SIGINT, 130, b""), (signal.SIGTERM, 143, PART)]
)
def test_a_stop_while_mnist_is_downloaded_leaves_nothing(
    invoke, tmp_path, monkeypatch, no_tensorflow, number, code, answer
):
    before = signal.getsignal(number)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(images, "URL", f"http://127.0.0.1:{server.getsockname()[1]}/mnist.npz")

        def stop():
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)
                time.sleep(0.2)  # for what was sent to be read, if anything
                os.kill(os.getpid(), number)
                ended.wait(30)

        ended = threading.Event()
        thread = threading.Thread(target=stop)
        thread.start()
        result = invoke("train-vae", "--flows", "4")
        ended.set()
        thread.join()
    assert result.exit_code == code
    first, last = result.stderr.splitlines()
    assert first.startswith("downloading MNIST") and "nflow: interrupted; to run it again" in last
    assert not list(tmp_path.iterdir()) and signal.getsignal(number) is before


def test_without_network_and_cache_the_sample_is_taken_with_a_warning(
    invoke, monkeypatch, tmp_path
):
    taken = []

    def fit(config, directory, images):
        taken.append(images.name)
        raise NflowError("stopped by the test")

    monkeypatch.setattr("nflow_cli.experiments.running.start_tensorflow", lambda *_: None)
    monkeypatch.setattr(vae_training, "train", fit)
    result = invoke("train-vae", "--output", "run")
    assert taken == ["mnist-sample"]
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "using the embedded sample" in warnings[0] and "do not compare" in warnings[0]
    # The preset that repeats the run still asks for MNIST.
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]["name"] == "mnist"


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(main, ["train-vae", *SMOKE], prog_name="nflow")
    return folder / done.stdout.splitlines()[-1], done


def test_a_run_writes_all_its_files_and_prints_its_folder_last(smoke_run):
    path, done = smoke_run
    assert path.parent.name == "outputs" and path.name.endswith("-smoke")
    assert {file.name for file in path.iterdir()} == {
        *("config.yaml", "run.json", "metrics.csv", "summary.json", "model.keras"),
        *("evaluation.npz", "estimates.npz", "plots", "report.html", "checkpoints"),
    }
    assert {file.name for file in (path / "plots").iterdir()} >= {f"{n}.png" for n in PICTURES}
    run = RunDirectory.open(str(path))
    assert list(run.read_metrics()["epoch"]) == [1, 2]
    assert list(run.read_metrics()["update"]) == [80, 160]
    record, summary = run.read_json("run.json"), run.read_json("summary.json")
    assert (record["status"], record["command"]) == ("completed", "train-vae")
    assert record["argv"] == ["train-vae", *SMOKE]
    assert record["data"] == {"name": "mnist-sample", "sha256": images.SAMPLE_SHA256}
    assert set(summary) >= {
        *("flow", "k", "amortized", "seed", "epochs", "reconstruction", "kl", "negative_elbo"),
        *("negative_log_likelihood", "negative_log_likelihood_standard_error", "nll_samples"),
        *("binarization", "data", "compile_seconds", "seconds_per_epoch"),
    }
    assert summary["data"] == {**record["data"], "n_train": 8000, "n_test": 2000}
    assert (summary["flow"], summary["k"], summary["epochs"]) == ("planar,radial", 4, 2)
    assert 0 < summary["negative_log_likelihood"] < summary["negative_elbo"] < 784 * np.log(2)
    nll, error = (summary[f"negative_log_likelihood{part}"] for part in ("", "_standard_error"))
    assert f"{summary['negative_elbo']:.2f} nats" in done.stdout
    assert f"{with_error(nll, error)} nats" in done.stdout
    written = yaml.safe_load((path / "config.yaml").read_text())
    assert (written["command"], written["train"]["epochs"]) == ("train-vae", 2)
    assert (written["data"]["name"], written["flow"]["k"]) == ("mnist-sample", 4)
    lines = done.stderr.splitlines()  # progress alone
    stages = "starting TensorFlow|compiling|scoring: |preparing pictures|drawing pictures"
    known = rf"training: [\d,]+/160 updates, epoch [12], |{stages}"
    assert lines and all(re.match(known, line) for line in lines)


@pytest.mark.slow
@pytest.mark.xla  # as in the process beside it
def test_the_config_of_a_run_repeats_it_bit_for_bit_where_keras_is_set_up_otherwise(
    invoke, tmp_path
):
    done = run_where_keras_is_set_up_otherwise(tmp_path, "train-vae", *SMOKE)
    known = ("training: ", "starting ", "compiling", "scoring: ", "preparing ", "drawing pictures")
    assert all(line.startswith(known) for line in done.stderr.splitlines())
    path, again = tmp_path / done.stdout.splitlines()[-1], tmp_path / "again"
    result = invoke("train-vae", "--preset", path / "config.yaml", "--output", again)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(again)
    assert (again / "config.yaml").read_bytes() == (path / "config.yaml").read_bytes()
    assert_same_run(again, path)


@pytest.mark.slow
def test_the_whole_mnist_is_trained_on(invoke, tmp_path):
    mnist = os.environ.get("NFLOW_MNIST")
    if not mnist:
        pytest.skip("NFLOW_MNIST does not give the path of the whole MNIST")
    few = ["--set", "evaluate.importance_samples=5", "--output", tmp_path / "run"]
    result = invoke("train-vae", "--data", mnist, "--flows", "4", "--epochs", "1", *few)
    assert result.exit_code == 0, result.stderr
    summary = RunDirectory(tmp_path / "run").read_json("summary.json")
    assert (summary["data"]["n_train"], summary["data"]["n_test"]) == (60_000, 10_000)
    assert summary["negative_elbo"] < 250  # nats of an image: after an epoch, a good part is known
