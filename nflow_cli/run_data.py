"""The images that a train-vae run was judged by, found again. No Keras here."""

from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.images import Images, load_images
from nflow_cli.run_dir import RUN, RunDirectory


def images_of(run: RunDirectory) -> Images:
    """Load the data of a run again, and see that they are the same.

    Raises:
        RunDirectoryError: If the run does not say what they were.
        DataError: If they cannot be read, or are others now.
    """
    recorded = run.read_json(RUN).get("data")
    if not isinstance(recorded, dict) or not isinstance(recorded.get("name"), str):
        raise RunDirectoryError(f"{run.path / RUN}: damaged: expected the data's name and sha256")
    name = recorded["name"]
    images = load_images(name, fallback=False)
    if images.sha256 != recorded.get("sha256"):
        raise DataError(
            f"{name}: not the data of this run; expected SHA-256 {recorded.get('sha256')!r:.70}, "
            f"received {images.sha256}"
        )
    return images
