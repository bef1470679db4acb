"""Names that docstrings and pages refer to lead somewhere."""

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path

from documents import DOCUMENTS, ROOT
from trees import matching

import nflow_cli

PACKAGE = Path(nflow_cli.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in matching(PACKAGE, "**/*.py")
}
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([\w.]+)`")


def leads_somewhere(name):
    """Return whether a module, a class or one of its members has a name; also if only annotated, or
    set by a method.
    """
    try:
        pkgutil.resolve_name(name)
    except ImportError:
        return False
    except AttributeError:
        owner, _, attribute = name.rpartition(".")
        holder = pkgutil.resolve_name(owner) if leads_somewhere(owner) else None
        if not inspect.isclass(holder):
            return False
        is_annotated = any(attribute in inspect.get_annotations(base) for base in holder.__mro__)
        source = inspect.getsource(holder)
        return is_annotated or bool(re.search(rf"\bself\.{attribute}\b", source))
    return True


def places_of(name, module):
    """Return what a docstring of a module may mean by a name: the whole, or one in the module, in a
    class of it, or beside it.
    """
    if name.startswith("nflow_cli"):
        return [name]
    classes = inspect.getmembers(import_module(module), inspect.isclass)
    own = [f"{module}.{holder}" for holder, kind in classes if kind.__module__ == module]
    return [f"{scope}.{name}" for scope in (module, *own, module.rpartition(".")[0])]


def test_a_docstring_refers_to_what_is_there():
    references = {
        (module, name)
        for module, path in MODULES.items()
        for name in ROLE.findall(path.read_text("utf-8"))
    }
    dangling = [
        (module, name)
        for module, name in sorted(references)
        if not any(map(leads_somewhere, places_of(name, module)))
    ]
    assert not dangling


def test_a_page_names_what_is_there():
    text = "".join([*DOCUMENTS.values(), (ROOT / "CONTRIBUTING.md").read_text("utf-8")])
    names = sorted(set(re.findall(r"nflow_cli(?:\.\w+)+", text)))
    assert names and not [name for name in names if not leads_somewhere(name)]
