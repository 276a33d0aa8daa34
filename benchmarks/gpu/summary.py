"""``summary.md`` of what the parts wrote: ``summary.py PART=EXIT_STATUS=SECONDS …``."""

import json
import os
import sys
from pathlib import Path
from typing import Any

OUT_OF_TIME = (124, 137)
_SHOWN_APART = ("ok", "seconds", "peak_gb", "error")


def main() -> None:
    """Write it, and print it."""
    out = Path(os.environ.get("PKT_GPU_OUT", "results/gpu"))
    lines = ["# On a GPU", ""]
    for argument in sys.argv[1:]:
        name, code, seconds = argument.split("=")
        path = out / f"{name}.json"
        record = json.loads(path.read_text("utf-8")) if path.exists() else None
        if record and len(lines) == 2:
            lines += [", ".join(f"{key} {value}" for key, value in record["machine"].items()), ""]
            lines += ["Tiny sizes, to try the script: no figure here means anything.", ""] * record["tiny"]
        lines += section(name, record, int(code), int(seconds))
    text = "\n".join(lines)
    (out / "summary.md").write_text(text, "utf-8")
    print(text)


def section(name: str, record: dict[str, Any] | None, code: int, seconds: int) -> list[str]:
    """A part's heading, and a row a step."""
    ended = "ended at its limit" if code in OUT_OF_TIME else "finished" if code == 0 else f"FAILED (exit status {code})"
    lines = [f"## {record['title'] if record else name}", "", f"{name}.json; {ended} after {seconds} s.", ""]
    if record:
        lines += ["| step | | seconds | peak GB | |", "| --- | --- | ---: | ---: | --- |"]
        for step, facts in record["steps"].items():
            said = "; ".join(f"{key} {shown(value)}" for key, value in facts.items() if key not in _SHOWN_APART)
            state = "ok" if facts["ok"] else f"FAILED: {facts['error']}"
            cells = (step, state, facts["seconds"], facts.get("peak_gb", ""), said)
            lines.append("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        lines.append("")
    return lines


def shown(value: Any) -> str:
    """A value in a cell."""
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {shown(v)}" for key, v in value.items()) + ")"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
