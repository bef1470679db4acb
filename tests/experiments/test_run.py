from nflow_cli.experiments import run


def test_the_versions_that_decide_the_numbers_are_recorded():
    assert set(run.versions()) >= {"python", "keras", "tensorflow", "numpy"}
