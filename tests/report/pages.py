"""A leaderboard whose students' answers attack the page, for the tests of the page as text and in a browser."""

from typer.testing import CliRunner

from pkt_eval.cli import app

HOSTILE = '</script><script>window.hit=1</script><img src=x onerror="window.hit=2">${7*7}{{7*7}}\u2028 <!--'
N = 100


def right(*ranges):
    chosen = {i for low, high in ranges for i in range(low, high)}
    return [int(i in chosen) for i in range(N)]


def hostile_page(made, root):
    """Writes the records and the page; returns the leaderboard's folder."""
    students = [
        ("vanilla", right((0, 20)), None),
        ("lora", right((0, 18), (20, 26)), 0),
        ("seeking", right((2, 60)), 0),
        ("laten", right((0, 20)), 0),
        ("teacher", right((0, 75)), None),
    ]
    for task, metric in (("pkt_mmlu_chat", "acc,none"), ("pkt_gsm8k_chat", "exact_match,strict-match")):
        for method, scores, seed in students:
            made(
                root / "in" / method / task,
                scores if task == "pkt_mmlu_chat" else scores[::-1],
                task=task,
                metric=metric,
                method=method,
                seed=seed,
                answer=f"{method} says {HOSTILE}\ud800",
                question="Q: {} " + HOSTILE.replace("{", "{{").replace("}", "}}"),
                subject=(lambda doc: f"sub_{int(doc[1:]) % 25}") if task == "pkt_mmlu_chat" else None,
            )
    name = f"/models/{HOSTILE.replace('/', '')}"
    made(root / "in" / "foreign", right((0, 21)), method=None, pretrained=name, metric="exact_match,strict-match")
    report(root)
    return root / "out"


def report(root):
    """``pkt-eval report`` of ROOT/in to ROOT/out."""
    ended = CliRunner().invoke(app, ["report", str(root / "in"), "--out", str(root / "out")], catch_exceptions=False)
    assert ended.exit_code == 0
