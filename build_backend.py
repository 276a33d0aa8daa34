"""The build backend: setuptools, one more file at the root of the wheel, and a README for a package page.

``pkt_eval.pth`` lets lm-eval know our models and tasks after a plain ``pip install`` (see ``pkt_eval/plugin.py``). It
has to lie at the root of site-packages for wheels and for editable installs alike, for which setuptools has no
option, so it is added to the finished wheel; RECORD lists it, and pip removes it with the rest.
"""

import base64
import hashlib
import re
import shutil
import zipfile
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401  the other hooks are setuptools' own
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

# Sorts after setuptools' own `__editable__.pkt_eval-….pth`, which it needs to have run. An absent or broken pkt_eval
# must not be noticed by anybody's Python.
PTH = (
    "pkt_eval.pth",
    b"import sys; exec('try:\\n import os, pkt_eval.plugin as p\\n"
    b' os.environ.get("PKT_EVAL_AUTOLOAD") == "0" or p.install()\\nexcept Exception: pass\')\n',
)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """A wheel with the door in it."""
    shutil.rmtree("build", ignore_errors=True)  # setuptools would pack what an earlier build left there
    return _add_pth(wheel_directory, build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """An editable wheel with the door in it."""
    return _add_pth(wheel_directory, build_meta.build_editable(wheel_directory, config_settings, metadata_directory))


# A picture or a link to a file of ours: neither to another host nor to a heading of the same page.
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s]+)\)")


def page(readme: str, repository: "str | None") -> str:
    """README.md where the files that it links to are not beside it, as on a package page.

    Args:
        readme: Markdown with links and pictures that are relative to the repository's root.
        repository: Address of that root, to which they then lead; without one the file is named and nothing is linked.
    """

    def elsewhere(link: "re.Match[str]") -> str:
        picture, text, target = link.groups()
        if repository:
            raw = "?raw=true" if picture else ""
            return f"{picture}[{text}]({repository.rstrip('/')}/{target}{raw})"
        return f"{text} (`{target}`)" if text != target else f"`{target}`"

    rewritten, links = LINK.subn(elsewhere, readme)
    if repository or not links:
        return rewritten
    return (
        rewritten.rstrip()
        + "\n\nPaths in brackets name files of the source distribution, which has the pictures too.\n"
    )


def _add_pth(folder, name):
    wheel, (pth, content) = Path(folder) / name, PTH
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    temporary = wheel.with_suffix(".tmp")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                data += f"{pth},sha256={digest},{len(content)}\n".encode()
            new.writestr(item, data)
        new.writestr(pth, content)
    shutil.move(temporary, wheel)
    return name
