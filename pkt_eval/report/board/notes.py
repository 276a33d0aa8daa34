"""The notes under a table: what was refused, cut or missing, each said once."""


class Notes:
    """Sentences in the order in which they came up; those that differ in the task alone become one."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, text: str, task: str = "") -> None:
        """Keep a sentence.

        Args:
            text: Of the note.
            task: The benchmark that it names.
        """
        tasks = self._found.setdefault(text.replace(task, "\0") if task else text, [])
        if task and task not in tasks:
            tasks.append(task)

    def said(self) -> list[str]:
        """All of them."""
        return [text.replace("\0", ", ".join(tasks)) for text, tasks in self._found.items()]
