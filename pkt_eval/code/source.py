"""What is Python and what does it define? Parsing under a budget, and questions about the tree.

An answer may be any text of any length, and the longest prefix that parses can take many attempts to find. So
every attempt is charged to a ``Parser``, which stops parsing when its budget is spent: garbage costs bounded
time.
"""

import ast
import re
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, replace

BUDGET_CHARACTERS = 400_000
BUDGET_ATTEMPTS = 400
TRIES = 16
"""Attempts at the end of one statement."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
OWN_SCOPE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# A line at which code may begin again after something that is not code.
CODE_START = re.compile(r"(?:async +def|def|class|import|from) +\w|@\w|[A-Za-z_]\w* *=[^=]")
# All that an expression may consist of to be taken for a stray word ("Explanation", "[DONE]") and not for
# code.
PROSE = (ast.Name, ast.Attribute, ast.List, ast.Tuple, ast.BinOp, ast.UnaryOp, ast.Constant)


@dataclass(frozen=True)
class Piece:
    """A run of lines that parses.

    Attributes:
        lead: What stood between it and the code before it.
        tail: What stood after it, of the last piece of a text.
        whole: Whether it ends at the margin, and not amid a statement that does not parse.
    """

    text: str
    tree: ast.Module
    lead: str = ""
    tail: str = ""
    whole: bool = True


class Parser:
    """Parses until its budget is spent; from then on nothing parses."""

    def __init__(self) -> None:
        self._characters = BUDGET_CHARACTERS
        self._attempts = BUDGET_ATTEMPTS
        self._known: dict[str, tuple[ast.Module | None, int | None]] = {}

    @property
    def spent(self) -> bool:
        return self._attempts <= 0 or self._characters <= 0

    def tree(self, text: str) -> ast.Module | None:
        """The tree of a text that compiles, else None."""
        return self._parse(text)[0]

    def longest(self, head: str, lines: list[str]) -> int:
        """How many of the lines can follow ``head`` such that the whole compiles.

        Whatever the error, no prefix that reaches its line compiles either: so each attempt ends just before
        the error of the last one, and a few suffice. Where they do not, as in a hundred blocks in each other of which
        none has a body, the statement goes that they are in.
        """
        before = head.count("\n") + 1
        count, tries, start = len(lines), 0, self._characters
        while count > 0 and not self.spent:
            if tries == TRIES or start - self._characters > BUDGET_CHARACTERS // 4:
                count, tries, start = _last_at_the_margin(lines[:count]), 0, self._characters
                continue
            tries += 1
            tree, error_line = self._parse(head + "".join(lines[:count]))
            if tree is not None:
                return count
            if error_line is None:
                count = self._before_the_unnamed(head, lines, count)
            else:
                count = min(count - 1, error_line - before)
        return 0

    def _before_the_unnamed(self, head: str, lines: list[str], count: int) -> int:
        """Lines before the first with which there is an error without a line: one nested too deep."""
        least = 0
        while count - least > 1:
            middle = (least + count) // 2
            tree, error_line = self._parse(head + "".join(lines[:middle]))
            if tree is None and error_line is None:
                count = middle
            else:
                least = middle
        return count - 1

    def pieces(self, text: str) -> list[Piece]:
        """The runs of lines that are code, in order; what lies between them is dropped."""
        lines = split_lines(dedent(text))
        pieces = self._pieces(lines)
        if pieces:
            return pieces
        # Nothing at the margin: perhaps prose around indented code.
        for start, line in enumerate(lines):
            if indentation(line) and CODE_START.match(line.lstrip()):
                margin = line[: indentation(line)]
                end = start
                while end < len(lines) and (lines[end].startswith(margin) or not lines[end].strip()):
                    end += 1
                return self._pieces(split_lines(dedent("".join(lines[start:end]))))
        return []

    def _pieces(self, lines: list[str]) -> list[Piece]:
        pieces = []
        start = read = 0  # what comes next, and the end of the code before it
        while start < len(lines) and not self.spent:
            count = self.longest("", lines[start:])
            end = start + count
            piece = self.without_prose("".join(lines[start:end]))
            if piece is not None and piece.tree.body:
                rest = next((line for line in lines[end:] if line.strip()), "")
                pieces.append(replace(piece, lead="".join(lines[read:start]), whole=not indentation(rest)))
                read = end
            start += max(count, 1)
            while start < len(lines) and not CODE_START.match(lines[start]):
                start += 1
        if pieces:
            pieces[-1] = replace(pieces[-1], tail="".join(lines[read:]))
        return pieces

    def without_prose(self, text: str) -> Piece | None:
        """The text without its stray words at the margin, which parse as names that nothing defines."""
        tree = self.tree(text)
        if tree is None:
            return None
        stray = [node for node in tree.body if is_prose(node)]
        if not stray:
            return Piece(text, tree)
        lines = split_lines(text)
        for node in stray:
            last = node.end_lineno or node.lineno
            lines[node.lineno - 1 : last] = ["\n"] * (last - node.lineno + 1)
        shorter = "".join(lines)
        shorter_tree = self.tree(shorter)
        return Piece(text, tree) if shorter_tree is None else Piece(shorter, shorter_tree)

    def _parse(self, text: str) -> tuple[ast.Module | None, int | None]:
        """The tree and 0, or None and the line of the error, if that is known."""
        if text not in self._known:
            self._attempts -= 1
            self._characters -= len(text)
            if self.spent:
                return None, 1
            self._known[text] = _compile(text)
        return self._known[text]


def _compile(text: str) -> tuple[ast.Module | None, int | None]:
    try:
        tree = ast.parse(text)
        # The parser alone lets `return` outside a function through.
        compile(tree, "<answer>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return None, error.lineno
    except (ValueError, OverflowError, MemoryError, RecursionError):
        return None, None
    return tree, 0


def split_lines(text: str) -> list[str]:
    """Lines as Python counts them, each with its newline; str.splitlines also breaks at form feeds."""
    lines = [line + "\n" for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "\n" else lines


def dedent(text: str) -> str:
    """Moves code to the margin, by the indentation of its shallowest line; blank lines around it go."""
    lines = text.split("\n")
    filled = [line for line in lines if line.strip()]
    if not filled:
        return ""
    while not lines[0].strip():
        del lines[0]
    margin = min(indentation(line) for line in filled)
    lines = [line[margin:] for line in lines]
    lines[0] = lines[0].lstrip(" \t")
    return "\n".join(lines).rstrip("\n") + "\n"


def indentation(line: str) -> int:
    """Number of blanks and tabs that a line begins with."""
    return len(line) - len(line.lstrip(" \t"))


def _last_at_the_margin(lines: list[str]) -> int:
    """Where the last of the least indented lines is."""
    filled = [(-indentation(line), number) for number, line in enumerate(lines) if line.strip()]
    return max(filled, default=(0, 0))[1]


def is_prose(node: ast.stmt) -> bool:
    """Whether a statement is but a few words, with no effect except to fail: "Explanation", "[DONE]"."""
    if isinstance(node, ast.AnnAssign):
        return node.value is None  # "Time: O(n)"
    if not isinstance(node, ast.Expr):
        return False
    parts = [part for part in ast.walk(node.value) if isinstance(part, ast.expr)]
    return any(isinstance(part, ast.Name) for part in parts) and all(isinstance(part, PROSE) for part in parts)


def bound_names(node: ast.AST) -> set[str]:
    """Names that a statement, or all of a module, binds in its own scope."""
    names: set[str] = set()
    todo = [node]
    while todo:
        part = todo.pop()
        if isinstance(part, DEFINITIONS):
            names.add(part.name)
        elif isinstance(part, ast.alias):
            names.add(part.asname or part.name.partition(".")[0])
        elif isinstance(part, ast.Name):
            if isinstance(part.ctx, ast.Store):
                names.add(part.id)
        elif not isinstance(part, OWN_SCOPE):
            todo.extend(ast.iter_child_nodes(part))
    return names


def used_names(text: str) -> set[str]:
    """Names that code reads from its module; arguments and variables of its functions are not among them."""
    names: set[str] = set()
    try:
        todo = [symtable.symtable(text, "<answer>", "exec")]
    except SyntaxError:  # a statement that shares its last line with the next one
        return names
    while todo:
        table = todo.pop()
        todo.extend(table.get_children())
        symbols = (symbol for symbol in table.get_symbols() if symbol.is_referenced())
        names |= {s.get_name() for s in symbols if s.is_global() or table.get_type() == "module"}
    return names


def body_size(function: Function) -> int:
    """How many statements of a function act; docstrings, ``pass``, ``...`` and stray words do not."""
    return sum(
        not (
            isinstance(node, ast.Pass)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or is_prose(node)
        )
        for node in function.body
    )


def returns(function: Function) -> bool:
    """Whether a function itself, not one inside it, gives something back."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        part = todo.pop()
        if isinstance(part, (ast.Return, ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(part, (*DEFINITIONS, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(part))
    return False


def find_function(tree: ast.Module, name: str) -> Function | None:
    """The last function of that name at the margin: the one that a caller gets."""
    return next((n for n in reversed(tree.body) if isinstance(n, FUNCTIONS) and n.name == name), None)


def find_method(tree: ast.Module, name: str) -> tuple[ast.ClassDef, Function] | None:
    """The last method of that name in a class at the margin, with its class."""
    for owner in reversed(tree.body):
        if isinstance(owner, ast.ClassDef):
            for node in owner.body:
                if isinstance(node, FUNCTIONS) and node.name == name:
                    return owner, node
    return None


def statements(piece: Piece) -> Iterator[tuple[ast.stmt, str]]:
    """The statements at the margin with their texts, decorators included."""
    lines = split_lines(piece.text)
    for node in piece.tree.body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        yield node, "".join(lines[first - 1 : node.end_lineno])
