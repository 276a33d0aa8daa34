"""Our own sources by what they decide: a change in them makes stale what was kept under another digest.

The one place where that is declared. Places on disk decide nothing: files are named by their path in the package.
"""

import ast
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pkt_eval._util.digests import combine_digests, file_digest

#: What decides a student, besides its method's own module.
TRANSFER = (
    "errors.py",
    "_util/options.py",
    "_util/devices.py",
    "_util/digests.py",
    "_util/files.py",
    "_util/folders.py",
    "_util/hub.py",
    "_util/json_files.py",
    "models",
    "data",
    "nano/rows.py",
    "tune",
    "locate",
    "extract",
    "align",
    "methods/base.py",
    "transfer/recipe.py",
    "transfer/transfer.py",
    "_util/sources.py",
)
#: What decides where a teacher's neurons are found.
LOCATION = ("locate", "models/blocks.py", "models/activations.py")
#: What decides what is asked, answered and scored.
SCORING = ("code", "data", "lm", "tasks", "model_wrappers/generate.py")


def source_files(rooms: Iterable[str]) -> dict[str, Path]:
    """Path in the package → file, of every Python and YAML file in some rooms or files."""
    paths = {}
    for room in rooms:
        first, _, rest = room.partition("/")
        # Two rooms lie beside the package in the repository.
        spec = find_spec(f"pkt_eval.{first}") if not first.endswith(".py") else find_spec("pkt_eval")
        assert spec is not None and spec.submodule_search_locations is not None
        folder = Path(next(iter(spec.submodule_search_locations)))
        path = folder / (rest or ("" if not first.endswith(".py") else first))
        within = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix in (".py", ".yaml"))
        for file in within:
            paths[room if path.is_file() else f"{room}/{file.relative_to(path).as_posix()}"] = file
    return paths


@cache
def digest(rooms: tuple[str, ...]) -> str:
    """sha256 over the names and contents of the files of some rooms."""
    return combine_digests({name: file_digest(path) for name, path in sorted(source_files(rooms).items())})


@cache
def module_digest(module: str) -> str:
    """sha256 of a method's own source: its module, and what it imports of its package.

    A method of ours is one file, and the files of ``pkt_eval.methods`` that it imports; of a plug-in the whole package
    counts, since nobody knows which of it the method runs through.
    """
    ours = "pkt_eval.methods."
    if module.startswith(ours):
        names, queue = {module}, [module]
        while queue:
            tree = ast.parse(_file(queue.pop()).read_text("utf-8"))
            for node in ast.walk(tree):
                name = node.module if isinstance(node, ast.ImportFrom) else None
                if name and name.startswith(ours) and name not in names:
                    names.add(name)
                    queue.append(name)
        return combine_digests({name: file_digest(_file(name)) for name in sorted(names)})
    top = module.partition(".")[0]
    spec = find_spec(top)
    if spec is None or spec.origin is None:  # typed into an interpreter: there is no file to read
        return combine_digests({"module": module})
    if spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations)))
        return combine_digests({f.relative_to(folder).as_posix(): file_digest(f) for f in sorted(folder.rglob("*.py"))})
    return combine_digests({top: file_digest(Path(spec.origin))})


def _file(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin)
