"""A page as a real browser shows it, which a test asks by the browser's own command line."""

import os
import re
import shutil
import subprocess
from typing import NamedTuple

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PORT = "9"  # of a proxy that is not there: whatever is asked for fails, and is in the log
OWN = ("google.com", "googleapis.com", "gvt1.com")  # whom the browser itself asks, for updates


class Page(NamedTuple):
    """What a page is in the browser, and what the browser has to say of it."""

    dom: str
    console: list[str]
    hosts: set[str]  # that the page asked for something


def browser():
    """Return the browser there is: that of ``NFLOW_BROWSER``, or one of Chrome's kin; or None."""
    return os.environ.get("NFLOW_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


def opened(path, profile, size=(1200, 1800)):
    """Open a page in a browser that starts anew; return what it is once it is loaded."""
    log = profile / "net.json"
    command = [
        *(browser(), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *(f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"),
        *("--enable-logging=stderr", f"--log-net-log={log}", f"--proxy-server=127.0.0.1:{PORT}"),
        *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
        path.resolve().as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    hosts = set(re.findall(r'"url":"(?:https?|wss?)://([^/":]*)', log.read_text(errors="replace")))
    return Page(done.stdout, console, {host for host in hosts if not host.endswith(OWN)})
