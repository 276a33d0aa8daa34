"""Prints, after pytest-benchmark's table, each group's ratios: the last one against the stock ways."""


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    groups: dict = {}
    for bench in session.benchmarks if session else ():
        groups.setdefault(bench.group, []).append((bench.name, bench.stats.median))
    for group, rows in groups.items():
        *stock, (name, ours) = rows
        for other, median in stock:
            terminalreporter.write_line(
                f"{group}: {name} takes {ours / median:.3f} × {other} ({median / ours:.1f} × faster)"
            )
