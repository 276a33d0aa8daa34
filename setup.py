"""What pyproject.toml cannot say: the package page is README.md with links that lead somewhere (see build_backend)."""

import sys
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from build_backend import page  # noqa: E402

urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
setup(
    long_description=page((ROOT / "README.md").read_text("utf-8"), urls.get("Repository")),
    long_description_content_type="text/markdown",
)
