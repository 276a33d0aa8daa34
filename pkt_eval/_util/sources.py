"""Our own sources by what they decide: a change in them makes stale what was kept under another digest.

The one place where that is declared. Places on disk decide nothing: files are named by their path in the package.
"""

import ast
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import packages_distributions
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
    "_util/kept.py",
    "_util/lazy.py",
    "_util/places.py",
    "_util/remembered.py",
    "models",
    "inference",
    "data",
    "nano/rows.py",
    "tune",
    "locate",
    "extract",
    "align",
    "methods/base.py",
    "transfer/recipe.py",
    "transfer/transfer.py",
    "transfer/words.py",
    "_util/sources.py",
)
#: What decides where a teacher's neurons are found.
LOCATION = ("locate", "models/blocks.py", "models/activations.py", "models/stream.py", "models/states.py")
#: What decides a fine-tuned teacher, its answers, and the start of a fine-tuning.
TUNING = ("tune", "inference", "data", "models", "align/carry.py")
#: What decides what is asked, answered and scored.
SCORING = (
    "code",
    "data",
    "inference",
    "lm",
    "models",
    "tasks",
    "model_wrappers",
    "suite/evaluate.py",
    "suite/switchable_model.py",
)


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


def class_digest(*classes: type) -> str:
    """sha256 of a method's own source: that of the modules of some classes, and of those that they derive from."""
    modules = {base.__module__ for cls in classes for base in cls.__mro__}
    own = sorted(m for m in modules if m.partition(".")[0] not in {*sys.stdlib_module_names, "pydantic"})
    return combine_digests({module: module_digest(module) for module in own})


@cache
def module_digest(module: str) -> str:
    """sha256 of a module's source, and of what it imports of its own package.

    A method of ours is one file, and the files of ``pkt_eval.methods`` that it imports; of a plug-in the whole package
    counts, since nobody knows which of it the method runs through, and of our methods those that it imports.
    """
    found: dict[str, str] = {}
    queue, seen = [module], {module}
    while queue:
        name = queue.pop()
        files = _own_files(name)
        found |= {path_in_package: file_digest(path) for path_in_package, path in files.items()}
        imported = set()
        for path in (path for path in files.values() if path.suffix == ".py"):
            imported |= _imported(path.read_bytes(), name if path.name == "__init__.py" else name.rpartition(".")[0])
        queue += sorted(other for other in imported - seen if _is_own(other, module))
        seen |= imported
    return combine_digests(found or {"module": module})  # typed into an interpreter: there is no file to read


_METHODS = "pkt_eval.methods"
_NO_SOURCE = (".pyc", ".pyi", ".md", ".rst")


def _own_files(module: str) -> dict[str, Path]:
    """Name → file of all that counts with a module: itself where it is ours, else its whole package."""
    if module.partition(".")[0] == "pkt_eval":  # what all methods run through is counted by rooms
        return {module: path} if (path := _origin(module)) else {}
    parts = module.split(".")
    for end in range(1, len(parts) + 1):  # the outermost that is no namespace, which others share
        package = ".".join(parts[:end])
        if path := _origin(package):
            if path.name != "__init__.py":
                return {package: path}
            within = (f for f in sorted(path.parent.rglob("*")) if f.is_file() and f.suffix not in _NO_SOURCE)
            return {f"{package}/{f.relative_to(path.parent).as_posix()}": f for f in within}
    return {}


def _is_own(imported: str, module: str) -> bool:
    """Whether what a module imports counts with it: our methods, and what came with it or lies beside it."""
    if imported.startswith(f"{_METHODS}."):
        return _origin(imported) is not None
    top, home = imported.partition(".")[0], module.partition(".")[0]
    if top in ("pkt_eval", home) or home == "pkt_eval" or top in sys.stdlib_module_names:
        return False
    if _origin(top) is None:
        return False
    homes = _distributions()
    return bool({*homes.get(top, ())} & {*homes.get(home, ())}) or _lie_together(top, home)


def _lie_together(top: str, home: str) -> bool:
    """Whether two modules share a folder that is somebody's own: where packages are installed, all lie in one."""
    folders = []
    for name in (top, home):
        path = _origin(name)
        folders.append(path and (path.parent.parent if path.name == "__init__.py" else path.parent).resolve())
    shared = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    own = folders[0]
    return own is not None and own == folders[1] and own not in shared and not any(own.glob("*.dist-info"))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _imported(source: bytes, package: str) -> set[str]:
    """Absolute names of what may be modules and is imported in a source of a package, found without running it."""
    names: set[str] = set()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a template, or for another Python
        return names
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def _origin(module: str) -> Path | None:
    """The file of a module; None of a namespace, and where there is no such module."""
    try:
        spec = find_spec(module)
        origin = spec.origin if spec else None
    except (ImportError, ValueError):  # ``__main__``, whose spec is None
        origin = getattr(sys.modules.get(module), "__file__", None)
    return path if origin and (path := Path(origin)).is_file() else None
