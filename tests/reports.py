"""What a page of a run, or a sweep, is made of, as a browser would read it."""

import base64
import io
from html.parser import HTMLParser

from PIL import Image

# All that a page may hold: nothing that is run, and nothing that leads further than to the pages
# of a sweep's runs.
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer"),
    *("h1", "h2", "p", "table", "tr", "th", "td", "ul", "li", "strong", "figure", "img"),
    *("figcaption", "pre", "div", "a"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "scope", "src", "width", "alt"),
    "href",
}


class Report(HTMLParser):
    """The tags and the text of a page, and its pictures by their names."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.sources, self.pictures = set(), set(), [], {}
        self.links = []
        self.policy, self.style, self.lines, self._tag = None, "", [], ""
        self.feed(text)
        self.text = "\n".join(self.lines)

    def handle_starttag(self, tag, attrs):
        self._tag, values = tag, dict(attrs)
        self.tags.add(tag)
        self.attributes |= values.keys()
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag == "a":
            self.links.append(values["href"])
        if tag == "img":
            self.sources.append(values["src"])
            self.pictures[values["alt"].split(":")[0]] = opened(values["src"])

    def handle_data(self, data):
        if self._tag == "style":
            self.style += data
        elif data.strip():
            self.lines.append(data)

    def handle_endtag(self, tag):
        self._tag = ""


def opened(uri):
    """Return the picture of a ``data:`` URI, decoded."""
    head, _, content = uri.partition(",")
    assert head in ("data:image/png;base64", "data:image/webp;base64")
    picture = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
    picture.load()
    return picture


def read_report(run):
    """Return the page of a run, having seen that it stands alone."""
    report = Report((run / "report.html").read_text("utf-8"))
    assert report.tags <= TAGS and report.attributes <= ATTRIBUTES
    assert all(source.startswith("data:image/") for source in report.sources)
    assert not report.links
    assert not any(word in report.style for word in ("url(", "@import", "<", "//"))
    policy = dict(part.split(maxsplit=1) for part in report.policy.split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert (policy["img-src"], policy["style-src"]) == ("data:", "'unsafe-inline'")
    assert "script-src" not in policy
    return report
