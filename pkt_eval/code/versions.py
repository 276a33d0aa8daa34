"""Of several versions of a program in one answer, the one that counts.

Of two ways to do it either would do, so the first counts. A later one counts only where it is said to mend the first,
or the first to be wrong; and one that is shown for what was wrong with it ("the original had a bug:") never does. What
is said of a version is what stands before it, and its first comments. Where the versions are, ``extract`` says.
"""

import re
from collections.abc import Sequence

from pkt_eval.code.source import (
    IMPORTS,
    Piece,
    body_size,
    bound_names,
    find_function,
    find_method,
    returns,
)

# What is said between a version and its correction, and what announces a version that is not to be used.
CORRECTED = re.compile(
    r"\b(?:wait|oops|hmm|actually|sorry|apolog\w+|correct(?:ed|ion|ing)?|fix(?:ed|es|ing)?|bugs?|buggy|mistakes?|wrong|"
    r"incorrect|errors?|fails?|revis(?:ed|ion|ing)|rewrit(?:e|ten|ing)|rewrote|redo|again|final|better|improved?|updated?|"
    r"instead|not (?:quite |yet )?right|(?:does not|doesn['’]t) work|should (?:be|have been))\b",
    re.I,
)
_WARNED = re.compile(
    r"\b(?:(?:do not|don['’]t|never|shouldn['’]t|should not) (?:ever )?(?:write|use|do|copy|try|code|implement|submit)|"
    r"avoid (?:this|that|the following|writing|doing|using|code like))\b",
    re.I,
)
# Just before a version.
_ANNOUNCED_WRONG = re.compile(
    r"\b(?:would be (?:wrong|incorrect|a mistake)|(?:common|typical) (?:mistake|error|bug)|"
    r"following (?:\w+ )?is (?:wrong|incorrect|buggy)|"
    r"(?:wrong|incorrect|buggy|naive|broken) (?:\w+ )?"
    r"(?:one|way|version|solution|implementation|approach|program|attempt|code|function))\b[^.\n]{0,40}\Z",
    re.I,
)
# In the last clause before a version: that it is the old one; that it is the new one all the same; that it is not.
_OLD = re.compile(
    r"\b(?:original(?:ly)?|previous(?:ly)?|earlier|old(?:er)?|initial(?:ly)?|before|former(?:ly)?|"
    r"what (?:was|went|i had|it (?:was|did))|which (?:was|had|did)|"
    r"(?:bug|mistake|error|problem|issue|fault|code|version|function|attempt|one) (?:was|had)|"
    r"where (?:the|a) (?:bug|mistake|error|problem) (?:is|was))\b",
    re.I,
)
_NEW = re.compile(
    r"\b(?:correct(?:ed|ly)?|fix(?:ed|es)?|revised|updated?|improved?|better|new|final|right|working|should|now|"
    r"use|try|replac(?:e|es|ing)|rewr\w+|mended|repaired|changed?|becomes|after)\b",
    re.I,
)
_NOT_NEW = re.compile(
    r"\b(?:(?:before|without) (?:\w+ )?(?:fix(?:ed|ing|es)?|correct(?:ed|ion|ing)|chang(?:e|es|ed|ing)|edit|patch)\b|"
    r"(?:\A\W*before|(?:instead|in place) of|rather than)\W*\Z|was (?:\w+ )?(?:fixed|corrected|changed|replaced)\W*\Z|"
    r"(?:not|\w+n['’]t) (?:\w+ )?(?:correct|right|work\w*)\b)",
    re.I,
)
_OLD_COMMENT = re.compile(r"#\W*(?:the |my |your )?(?:wrong|incorrect|buggy|broken|bad|before|old)\b\W*$", re.I | re.M)
# Whoever says so has the version above in mind.
_EXCLAIMED = re.compile(r"\b(?:wait|oops|hmm|actually|sorry|apolog\w+|my (?:mistake|bad)|i made)\b", re.I)
_CLAUSE_END = re.compile(
    r"[.!?;—–](?=\s)|,(?=\s)(?!\s+(?:namely|i\.e|e\.g|for|such|with|without|because|since|as|where|in)\b)|\s[-—–]\s|:(?=\s*\S)|\n|\b(?:so|hence|therefore|but)\b"
)


def version_that_counts(pieces: Sequence[Piece], name: str) -> int | None:
    """Number of the piece that defines a name and is meant to; None where none defines it.

    A piece that only imports the name may be a test of another.
    """
    able = [i for i, piece in enumerate(pieces) if _defines(piece, name)]
    makers = [i for i in able if not _only_imports(pieces[i], name)]
    if not makers:
        return able[0] if able else None
    main = makers[0]
    if _is_announced_wrong(pieces[main]):
        whole = (i for i in makers[1:] if _is_as_whole(pieces[i], pieces[main], name))
        main = next((i for i in whole if not _is_announced_wrong(pieces[i])), main)
    for i in makers[makers.index(main) + 1 :]:
        said = "\n".join(piece.lead for piece in pieces[main + 1 : i])
        mends = is_correction(said, pieces[i]) or (_is_new(pieces[i]) and _is_old("", pieces[main]))
        if mends and _is_as_whole(pieces[i], pieces[main], name):
            main = i
    return main


def is_correction(said: str, piece: Piece) -> bool:
    """Whether what is said of a piece is that it mends an earlier one.

    Args:
        said: What was said of others in between.
        piece: It.
    """
    words = f"{said}\n{piece.lead}{_comments(piece)}"
    wrong = _WARNED.search(words) or _is_announced_wrong(piece) or _is_old(said, piece)
    return bool(CORRECTED.search(words)) and not wrong


def _is_announced_wrong(piece: Piece) -> bool:
    lead = piece.lead.strip().rstrip("*_`~")
    return any(_ANNOUNCED_WRONG.search(text) for text in (lead, f"{lead}\n{_comments(piece).strip()}"))


def _is_old(said: str, piece: Piece) -> bool:
    """Whether a piece is shown as what was there before, and so for what is wrong with it."""
    if _OLD_COMMENT.search(_comments(piece)):
        return True
    for clause in _last_clauses(piece):
        if _NOT_NEW.search(clause):
            return True
        if _OLD.search(clause) and not _NEW.search(clause):
            return not _EXCLAIMED.search(f"{said}\n{piece.lead}")
    return False


def _is_new(piece: Piece) -> bool:
    """Whether a piece is shown as what came after another."""
    clauses = _last_clauses(piece)
    return any(map(_NEW.search, clauses)) and not any(map(_NOT_NEW.search, clauses)) and not _WARNED.search(piece.lead)


def _last_clauses(piece: Piece) -> list[str]:
    """Of what stands before a piece, and its first comment."""
    parts = _CLAUSE_END.split(piece.lead.strip().strip("*_`~#-=: \n"))
    comment = _comments(piece).strip().partition("\n")[0]
    return [next((part for part in reversed(parts) if part.strip()), ""), comment.strip("#-=: ")]


def _comments(piece: Piece) -> str:
    comments = re.match(r"(?:\s*#.*\n)*", piece.text)
    return comments[0] if comments else ""


def _is_as_whole(later: Piece, earlier: Piece, name: str) -> bool:
    """Whether a version has come to its end: not cut off inside, and returning if the one before it does."""
    new, old = find_function(later.tree, name), find_function(earlier.tree, name)
    return later.whole and (new is None or old is None or returns(new) or not returns(old))


def _only_imports(piece: Piece, name: str) -> bool:
    sources = [node for node in piece.tree.body if name in bound_names(node)]
    return bool(sources) and all(isinstance(node, IMPORTS) for node in sources)


def _defines(piece: Piece, name: str) -> bool:
    """Whether a piece defines a name as something that acts: an unfinished function is no answer."""
    function = find_function(piece.tree, name)
    if function is None:
        method = find_method(piece.tree, name)
        function = method and method[1]
    if function is not None:
        return body_size(function) > 0
    return name in bound_names(piece.tree)
