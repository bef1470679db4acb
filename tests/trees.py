"""Files that a test looks at, by a pattern: one that looks at none would pass."""


def matching(folder, pattern):
    """Return the paths of a folder that match, in order: one at least."""
    paths = sorted(folder.glob(pattern))
    assert paths, f"{folder}: nothing matches {pattern}"
    return paths
