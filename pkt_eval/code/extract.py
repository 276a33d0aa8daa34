"""The answer of a model → the program in it.

Two kinds of answer have to be told apart. A *whole* answer defines the function itself: then it is the
program, with those imports and helpers of the prompt that it left out. A *continuation* is what comes after
the prompt's signature: then the program is prompt + answer, as the benchmark's authors run it. Either may
come in fences, amid prose, cut off.

What parses decides, not what it looks like; nothing is renamed or repaired, except for the indentation of a
continuation.
"""

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pkt_eval.code.cleaning import (
    THOUGHT,
    rambling_lines,
    with_plain_blanks,
    without_lines,
    without_nuls,
    without_thoughts,
)
from pkt_eval.code.markdown import Segment, split_fences
from pkt_eval.code.source import (
    CODE_START,
    DEFINITIONS,
    FUNCTIONS,
    IMPORTS,
    Parser,
    Piece,
    body_size,
    bound_names,
    dedent,
    find_function,
    find_method,
    indentation,
    returns,
    split_lines,
    statements,
    used_names,
)
from pkt_eval.code.versions import CORRECTED, is_correction, version_that_counts

FUTURE = re.compile(r"^from __future__ import .*\n", re.M)
# A line of an interactive session: ">>> def f(x):", "...     return x".
SESSION = re.compile(r"^[ \t]*(?:>>>|\.\.\.)(?: (.*))?$", re.M)
MOST_ROUNDS = 10


def extract_code(answer: str, *, prompt: str | None = None, entry_point: str | None = None) -> str:
    """Finds the program in an answer.

    Args:
        answer: What the model wrote: bare code, fenced blocks, prose around them, a continuation of the
            prompt; whole or cut off.
        prompt: The code that the model was shown, ending in the function to be completed. A prompt that is
            not code is ignored.
        entry_point: The name that the tests call; by default the prompt's last function.

    Returns:
        A whole program, which compiles, without the tests. Empty if there is no code in the answer. A
        well-formed continuation gives exactly ``prompt + answer``.

    Example:
        >>> prompt = "def double(x):\\n    "
        >>> extract_code("Sure:\\n```python\\ndef double(x):\\n    return 2 * x\\n```\\nDone.", prompt=prompt)
        'def double(x):\\n    return 2 * x\\n'
        >>> extract_code("return x + x", prompt=prompt)  # a continuation
        'def double(x):\\n    return x + x'
        >>> extract_code("I cannot do that.", prompt=prompt)
        ''
    """
    answer = without_nuls(answer.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the answer's bad escapes and the like
        program = _program(answer, prompt, entry_point)
        # Where the program is no longer for it, what looks like a blank stands in a string or a comment.
        if (typed := with_plain_blanks(answer)) != answer:
            program = max(program, _program(typed, prompt, entry_point), key=lambda text: len(text.split("\n")))
        return program


def _program(answer: str, prompt: str | None, entry_point: str | None) -> str:
    # A program may well have a line of its own that looks like a thought: in a string.
    if not THOUGHT.search(answer) or Parser().tree(dedent(answer)) is None:
        answer = without_thoughts(answer)
    program = _extract(answer, prompt, entry_point)
    # One that is in the program stands in a string or a comment there, and does no harm.
    if harmful := [line for line in rambling_lines(answer) if line not in program]:
        program = _extract(without_lines(answer, harmful), prompt, entry_point)
    return program


@dataclass(frozen=True)
class _Stub:
    """A prompt that ends in an unfinished function."""

    text: str
    piece: Piece
    function: ast.FunctionDef | ast.AsyncFunctionDef
    indent: str


def _extract(answer: str, prompt: str | None, entry_point: str | None) -> str:
    parser = Parser()
    stub = _read_stub(parser, prompt, entry_point) if prompt else None
    if not answer.strip():
        return ""
    whole = dedent(answer)
    if parser.tree(whole) is not None:
        segments = [Segment(answer, fenced=False)]
    else:
        segments = split_fences(answer, lambda text: parser.tree(dedent(text)) is not None)

    if stub is not None:
        entry_point = stub.function.name
        continued = _continue_at_once(parser, stub, answer, segments[0].text)
        if continued:
            return _corrected(parser, segments, stub, answer) or continued

    pieces = _pieces(parser, segments)
    main = version_that_counts(pieces, entry_point) if entry_point else None
    if main is None and stub is not None:
        program = _continue(parser, stub, segments, any_body=not any(map(_has_definitions, pieces)))
        if program:
            return program
    if main is None:
        main = next((i for i, piece in enumerate(pieces) if _has_definitions(piece)), 0)
    if not pieces:
        return ""
    return _join(parser, pieces, main, stub, entry_point)


def _read_stub(parser: Parser, prompt: str, entry_point: str | None) -> _Stub | None:
    for text in (prompt, prompt.rstrip() + " pass\n", prompt.rstrip() + "\n    pass\n"):
        tree = parser.tree(text)
        if tree is None:
            continue
        name = entry_point or next((n.name for n in reversed(tree.body) if isinstance(n, FUNCTIONS)), "")
        function = find_function(tree, name)
        if function is None:
            return None
        first = function.body[0]
        line = text.split("\n")[first.lineno - 1]
        indent = line[: indentation(line)] if first.lineno > function.lineno else "    "
        return _Stub(prompt, Piece(text, tree), function, indent or "    ")
    return None


# --- Continuations ---


def _continue_at_once(parser: Parser, stub: _Stub, answer: str, lead: str) -> str:
    """Prompt + answer, if the answer starts inside the function; an end that does not parse is dropped."""
    header = rf"(?:async +)?(?:def|class) +{re.escape(stub.function.name)}\b"
    is_whole = parser.tree(dedent(answer)) is not None and re.search(rf"^[ \t]*{header}", answer, re.M)
    if is_whole or re.match(header, lead.lstrip()):
        return ""  # indented, it would parse as a function inside the stub's, which then returns nothing
    grown = _grow(parser, stub, stub.text, answer)
    if grown and grown[1]:
        return grown[0]
    # Without its indentation the first line may be prose, or the start of a program of its own.
    first = next((line for line in lead.split("\n") if line.strip()), "")
    if not indentation(first) and stub.text.endswith("\n"):
        return ""
    # The lead ends at the first fence; the answer goes further if that is in a string.
    ways = [_grow(parser, stub, stub.text, lead), grown, _grow(parser, stub, stub.text, _tabs_to_blanks(lead))]
    return max(filter(None, ways), key=lambda way: way[2], default=("",))[0]


def _continue(parser: Parser, stub: _Stub, segments: list[Segment], any_body: bool) -> str:
    """The best program that some segment gives as a continuation whose indentation may have been lost."""
    best, best_rank = "", (False, False, 0)
    for segment in sorted(segments, key=lambda segment: not segment.fenced):
        for head, text in _indentations(stub, segment.text):
            grown = _grow(parser, stub, head, text)
            if grown is None:
                continue
            program, complete, kept = grown
            tree = parser.tree(program)
            function = tree and find_function(tree, stub.function.name)
            rank = (bool(function and returns(function)), complete, kept)
            if rank > best_rank and (rank[0] or any_body):
                best, best_rank = program, rank
        if best_rank[0]:
            break
    return best


def _indentations(stub: _Stub, text: str) -> Iterator[tuple[str, str]]:
    """Ways in which a body may have been meant, as pairs of a head and what follows it."""
    head = stub.text if stub.text.endswith("\n") else stub.text.rstrip(" \t") + "\n"
    lines = _tabs_to_blanks(text).split("\n")
    while lines and not lines[0].strip():
        del lines[0]
    # Words before the body: "The body is:" and then indented lines.
    prose = next((i for i, line in enumerate(lines) if indentation(line)), 0)
    for body in (lines, lines[prose:]):
        if not body:
            continue
        first, rest = body[0].lstrip(), body[1:]
        yield head, "\n".join([stub.indent + first, *rest])
        yield head, "\n".join(stub.indent + line for line in [first, *rest])
        yield head, "\n".join(stub.indent + line for line in dedent("\n".join(body)).split("\n"))
        if any(CODE_START.match(line) for line in lines[:prose]):
            break


def _tabs_to_blanks(text: str) -> str:
    """The text with its indentation in blanks, as that of a prompt is."""
    return re.sub(r"^[ \t]+", lambda blank: blank[0].expandtabs(4), text, flags=re.M)


def _grow(parser: Parser, stub: _Stub, head: str, text: str) -> tuple[str, bool, int] | None:
    """Head + as much of the text as compiles; whether that is all; how many lines. None if no body grew."""
    lines = split_lines(text)
    kept = parser.longest(head, lines)
    complete = kept == len(lines)
    program = head + (text if complete else "".join(lines[:kept]))
    piece = parser.without_prose(program)
    function = piece and find_function(piece.tree, stub.function.name)
    if piece is None or not function or body_size(function) == 0:
        return None
    if body_size(stub.function) and _end(function) == _end(stub.function):
        return None
    return piece.text, complete, kept


def _end(node: ast.stmt) -> tuple[int | None, int | None]:
    return node.end_lineno, node.end_col_offset


# --- Whole answers ---


def _pieces(parser: Parser, segments: list[Segment]) -> list[Piece]:
    """The code of an answer in order: of its blocks and of what precedes them, else of the rest, else of sessions."""
    likely = _pieces_of(parser, segments, lambda i: segments[i].fenced or i == 0)
    pieces = likely or _pieces_of(parser, segments, lambda i: not (segments[i].fenced or i == 0))
    if pieces:
        return pieces
    sessions = ("\n".join(SESSION.findall(segment.text)) for segment in segments)
    return [piece for session in sessions for piece in parser.pieces(session) if _has_definitions(piece)]


def _pieces_of(parser: Parser, segments: list[Segment], is_read: Callable[[int], bool]) -> list[Piece]:
    """The code of some segments; the others count as words before what follows them."""
    pieces: list[Piece] = []
    words = ""
    for i, segment in enumerate(segments):
        if not is_read(i):
            words += segment.text + "\n"
            continue
        in_segment = parser.pieces(segment.text)
        if not in_segment:
            words += segment.text + "\n"
        for piece in in_segment:
            pieces.append(replace(piece, lead=words + piece.lead))
            words = piece.tail
    return pieces


def _has_definitions(piece: Piece) -> bool:
    return any(isinstance(node, DEFINITIONS) for node in piece.tree.body)


def _corrected(parser: Parser, segments: list[Segment], stub: _Stub, answer: str) -> str:
    """The program of a whole function that is said to mend the continuation before it; else nothing."""
    name = stub.function.name
    if not CORRECTED.search(answer) or not re.search(rf"\bdef +{re.escape(name)}\b", answer):
        return ""
    pieces = _pieces(parser, segments)
    for i in reversed(range(len(pieces))):
        piece = pieces[i]
        function = find_function(piece.tree, name)
        if function and piece.whole and returns(function) and body_size(function) and is_correction("", piece):
            return _join(parser, pieces, i, stub, name)
    return ""


def _join(parser: Parser, pieces: list[Piece], main: int, stub: _Stub | None, entry_point: str | None) -> str:
    """The main piece, with what it needs from the others and what it leaves out of the prompt.

    Of the other pieces only definitions are taken, never examples of use; and never one of a name that is
    bound already, since a second version is an alternative or a quotation.
    """
    tree = pieces[main].tree
    bound, used = bound_names(tree), used_names(pieces[main].text)
    preamble = []
    if stub is not None:
        for node, text in statements(stub.piece):
            names = bound_names(node)
            if node is not stub.function and not (names and names <= bound):
                preamble.append(text)
                bound |= names
                used |= used_names(text)

    offered = [(i, node, text) for i, piece in enumerate(pieces) if i != main for node, text in statements(piece)]
    taken: dict[int, tuple[int, str]] = {}
    for _ in range(MOST_ROUNDS):  # what is taken may need more
        before = len(taken)
        for number, (i, node, text) in enumerate(offered):
            names = bound_names(node)
            # Without an entry point the tests may call any definition; a class they may call in any case.
            wanted = names & used or (isinstance(node, DEFINITIONS) if not entry_point else _is_plain_class(node))
            fresh = not names <= bound if isinstance(node, IMPORTS) else not names & bound
            # A statement that shares a line with another has a text that does not parse.
            if names and wanted and fresh and parser.tree(text):
                taken[number] = (i, text)
                bound |= names
                used |= used_names(text)
        if len(taken) == before:
            break

    earlier = [text for _, (i, text) in sorted(taken.items()) if i < main]
    later = [text for _, (i, text) in sorted(taken.items()) if i > main]
    if entry_point and find_function(tree, entry_point) is None:
        method = find_method(tree, entry_point)
        if method and entry_point not in bound_names(tree):
            later.append(_alias(*method))
    program = "\n\n".join(part.rstrip("\n") + "\n" for part in [*preamble, *earlier, pieces[main].text, *later])
    if parser.tree(program) is None:  # a __future__ import must come first
        program = "".join(FUTURE.findall(program)) + FUTURE.sub("", program)
    return program


def _is_plain_class(node: ast.stmt) -> bool:
    """Whether a statement is a class of data; one with a base may need what is not there, as tests do."""
    return isinstance(node, ast.ClassDef) and all(isinstance(b, ast.Name) and b.id == "object" for b in node.bases)


def _alias(owner: ast.ClassDef, method: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Lets the tests call a method as a function."""
    first = next((argument.arg for argument in [*method.args.posonlyargs, *method.args.args]), "")
    instance = "()" if first == "self" and not method.decorator_list else ""
    return f"{method.name} = {owner.name}{instance}.{method.name}\n"
