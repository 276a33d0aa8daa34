"""The README and the pages of ``docs/``, as what is to be done in them: their fenced blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
#: What a block may be in: the first three are used, the others are read.
USED, READ = ("bash", "python", "yaml"), ("text", "json")

_BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_INCLUDE = re.compile(r"<!-- include: (\S+) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: In which it is.
        text: What it says.
        why_not: Why it is not to be run; None where it is.
    """

    language: str
    text: str
    why_not: str | None

    @property
    def file(self) -> str | None:
        """The file that the block is: the name in a comment that is its first line."""
        named = re.match(r"# (\S+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None

    @property
    def commands(self) -> list[str]:
        """Its logical lines, without comments."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        return [" ".join(line.partition("   #")[0].split()) for line in lines if line and not line.startswith("#")]


def pages() -> list[Path]:
    """README.md, then the pages of ``mkdocs.yml`` in its order, each with what it includes before it."""
    listed = [ROOT / "README.md"]
    for name in _named(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]):
        page = ROOT / "docs" / name
        listed += [(page.parent / file).resolve() for file in _INCLUDE.findall(page.read_text("utf-8"))] + [page]
    return listed


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text("utf-8")
    found = [Block(m["language"], m["text"], m["why"]) for m in _BLOCK.finditer(text)]
    assert 2 * len(found) == len(re.findall(r"^\s*```", text, re.M)), f"{page}: a fence is indented or left open"
    return found


def _named(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [name for part in (nav.values() if isinstance(nav, dict) else nav) for name in _named(part)]
