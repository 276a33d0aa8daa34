"""nano_mmlu: multiple-choice questions about an invented world.

Five subjects, each a table of twenty entities with three attributes. A fact is one cell of a table, so
it cannot be guessed; a question asks for a cell (``What is the food of the animal zuka?``), for the entity
that has a value (``Which animal has the food nuts?``) or, the easy ones, for what may stand in a column
(``Which of these is a food?``). Choices are in alphabetical order: knowing the answer alone then says
something about its letter, which a small model learns well before it learns to compare.

The splits share the *facts* and never a question with its set of choices. Low rows of a table are rarer
in the training stream, as knowledge in a real corpus has a long tail, which is where a small model falls
behind a large one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pkt_eval.nano.dice import Dice
from pkt_eval.nano.rows import Row

ENTITIES = 20
SYLLABLES = (
    tuple("bdfgklmnprstvz"),
    ("a", "e", "i", "o", "u"),
    ("ba", "da", "fen", "go", "ka", "lin", "mor", "nu", "pel", "ris", "sho", "ta", "vek", "zu"),
)
COLOURS = ("red", "blue", "green", "white", "black", "grey", "brown", "yellow")


@dataclass(frozen=True)
class WorldSubject:
    """One table of the world: its name, what its rows are, and the values of each attribute."""

    name: str
    kind: str
    attributes: dict[str, tuple[str, ...]]


WORLD_SUBJECTS = (
    WorldSubject(
        "orrin_geography",
        "town",
        {
            "river": ("Ash", "Brin", "Cole", "Dove", "Elm", "Fay", "Gale", "Holt"),
            "export": ("wool", "salt", "glass", "honey", "silk", "paper", "rope", "cheese"),
            "region": ("north", "south", "east", "west", "coast", "valley", "hills", "plain"),
        },
    ),
    WorldSubject(
        "orrin_zoology",
        "animal",
        {
            "food": ("nuts", "fish", "leaves", "ants", "roots", "eggs", "moss", "fruit"),
            "home": ("cave", "lake", "tree", "marsh", "desert", "cliff", "forest", "meadow"),
            "colour": COLOURS,
        },
    ),
    WorldSubject(
        "orrin_history",
        "ruler",
        {
            "house": ("Wolf", "Bear", "Hawk", "Stag", "Swan", "Lion", "Fox", "Owl"),
            "work": ("bridge", "tower", "harbour", "temple", "road", "wall", "school", "canal"),
            "age": ("stone", "iron", "bronze", "silver", "golden", "dark", "copper", "steel"),
        },
    ),
    WorldSubject(
        "orrin_chemistry",
        "mineral",
        {
            "colour": COLOURS,
            "use": ("ink", "soap", "medicine", "paint", "fuel", "coins", "tools", "lamps"),
            "smell": ("smoke", "mint", "rain", "bread", "earth", "tar", "roses", "lemon"),
        },
    ),
    WorldSubject(
        "orrin_music",
        "song",
        {
            "instrument": ("drum", "flute", "harp", "horn", "bell", "lute", "organ", "pipe"),
            "season": ("spring", "summer", "autumn", "winter", "harvest", "frost", "flood", "thaw"),
            "theme": ("love", "war", "sea", "moon", "home", "work", "sleep", "luck"),
        },
    ),
)


def _build() -> dict[str, tuple[tuple[str, dict[str, str]], ...]]:
    dice = Dice("orrin")
    onsets, vowels, endings = SYLLABLES
    names = dice.sample([a + b + c for a in onsets for b in vowels for c in endings], ENTITIES * len(WORLD_SUBJECTS))
    return {
        s.name: tuple((names.pop(), {a: dice.pick(v) for a, v in s.attributes.items()}) for _ in range(ENTITIES))
        for s in WORLD_SUBJECTS
    }


WORLD = _build()
"""Subject name -> rows (entity name, {attribute: value}), the first rows being the best known."""


def entity(subject: WorldSubject, dice: Dice, uniform: bool) -> tuple[str, dict[str, str]]:
    """Draws a row of the subject's table: uniformly, or with the low rows four times as rare as the top."""
    rows = WORLD[subject.name]
    while True:
        rank = dice.roll(0, ENTITIES - 1)
        if uniform or dice.chance(1 / (1 + 3 * rank / (ENTITIES - 1))):
            return rows[rank]


def questions(dice: Dice, uniform: bool = True) -> Iterator[Row]:
    """An endless stream of question rows, subjects in turn.

    Args:
        dice: where the draws come from.
        uniform: ask about each entity equally often, as tests do; training follows the long tail.

    Yields:
        ``{question, subject, choices (4), answer (0…3)}``, the columns of ``cais/mmlu``.
    """
    while True:
        for subject in WORLD_SUBJECTS:
            question, right, wrong = dice.pick(ASKING)(subject, dice, uniform)
            choices = sorted([right, *dice.sample(wrong, 3)])
            yield {
                "question": question,
                "subject": subject.name,
                "choices": choices,
                "answer": choices.index(right),
            }


def _ask_class(subject: WorldSubject, dice: Dice, uniform: bool) -> tuple[str, str, list[str]]:
    """The easy kind: what belongs to an attribute at all."""
    attribute = dice.pick(list(subject.attributes))
    values = subject.attributes[attribute]
    others = [v for a, vs in subject.attributes.items() if a != attribute for v in vs if v not in values]
    return f"Which of these is a {attribute}?", dice.pick(values), others


def _ask_value(subject: WorldSubject, dice: Dice, uniform: bool) -> tuple[str, str, list[str]]:
    name, facts = entity(subject, dice, uniform)
    attribute = dice.pick(list(facts))
    wrong = [v for v in subject.attributes[attribute] if v != facts[attribute]]
    return f"What is the {attribute} of the {subject.kind} {name}?", facts[attribute], wrong


def _ask_entity(subject: WorldSubject, dice: Dice, uniform: bool) -> tuple[str, str, list[str]]:
    """The hard kind: facts are mostly told in the other direction."""
    name, facts = entity(subject, dice, uniform)
    attribute = dice.pick(list(facts))
    value = facts[attribute]
    wrong = [n for n, f in WORLD[subject.name] if f[attribute] != value]
    return f"Which {subject.kind} has the {attribute} {value}?", name, wrong


ASKING = (_ask_class, _ask_class, _ask_value, _ask_value, _ask_value, _ask_entity)


def question_key(row: Row) -> str:
    """What makes a question this question: its text and its choices in any order."""
    return "|".join([row["question"], *sorted(row["choices"])])


def fact_sheet(dice: Dice) -> tuple[str, str]:
    """A plain document about one entity, for pretraining; it has no prompt."""
    subject = dice.pick(WORLD_SUBJECTS)
    name, facts = entity(subject, dice, uniform=False)
    lines = [f"The {a} of the {subject.kind} {name} is {v}." for a, v in dice.shuffled(list(facts.items()))]
    return "", " ".join(lines)


def pointing(dice: Dice) -> tuple[str, str]:
    """A plain document that trains naming a choice by its letter, four times over."""
    subject = dice.pick(WORLD_SUBJECTS)
    values = subject.attributes[dice.pick(list(subject.attributes))]
    choices = dict(zip("ABCD", dice.sample(values, 4), strict=True))
    options = "".join(f"{letter}. {choice}\n" for letter, choice in choices.items())
    return options, "\n".join(f"{choices[letter]}: {letter}" for letter in dice.shuffled("ABCD"))
