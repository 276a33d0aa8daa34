"""What every wrapper of a student has, whichever engine answers: its making, and honest caches, formats and records."""

import hashlib
import importlib.metadata
import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM

from pkt_eval._util import sources
from pkt_eval._util.secrets import is_secret, without_secrets
from pkt_eval.data.benchmarks import is_chat_task
from pkt_eval.errors import ConfigError, DataError, MissingDataError, PKTError
from pkt_eval.inference.greedy import Ending
from pkt_eval.lm.task_functions import JudgedAhead
from pkt_eval.model_wrappers import hf_arguments
from pkt_eval.model_wrappers.generate import Endings
from pkt_eval.models.source import ModelSource, said_by
from pkt_eval.models.student import Student, check_listed, load_student, set_chat_template
from pkt_eval.transfer import processes
from pkt_eval.transfer.arguments import split_arguments
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer, versions
from pkt_eval.transfer.words import FIELDS

log = logging.getLogger("pkt_eval.model_wrappers")


class Evaluated(TemplateLM):
    """A student under evaluation, in front of the engine of lm-eval that answers.

    Attributes:
        student: Who is evaluated.
        source: The base, or merged checkpoint, that the engine has loaded.
        telling: Arguments of the engine that make it another model.
    """

    METHOD: str | None = None
    student: Student
    source: ModelSource
    telling: dict[str, Any]
    tokenizer: Any
    chat_template_args: Any
    enable_thinking: bool | None
    think_end_token: Any
    cache_hook: Any
    _own_template: Any
    _endings: Endings | None = None
    _chat_applied = False
    _warned = False

    @property
    def evaluated_in(self) -> str:
        """The dtype of the evaluation, by torch's name: ``bfloat16``."""
        raise NotImplementedError

    def _decided_by(self) -> list[Any]:
        """What of the engine decides an answer, beyond what is here."""
        raise NotImplementedError

    def _generated(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers of the engine, each noted (``_note``) before it is kept."""
        raise NotImplementedError

    def resolve(
        self, method: str | None, student: str | None, arguments: dict[str, Any], device: str, think_end: object
    ) -> dict[str, Any]:
        """Make or load the student; returns the arguments that are left for the engine.

        Args:
            method: Of the recipe.
            student: Folder of a saved student, instead of a recipe.
            arguments: Others, of recipe, method and engine.
            device: Where the student is made.
            think_end: The engine's ``think_end_token``.

        Raises:
            ConfigError: An option is unknown, or something is missing.
        """
        if student is not None:
            extra = self._saved(str(student), method, arguments)
        else:
            extra = self._transferred(method, arguments, device, think_end)
        if made := self.student.provenance:
            check_thinking(made.enable_thinking, think_end)
        return extra

    def template_arguments(self) -> dict[str, Any]:
        """What the student's template was told, by the names of lm-eval's engines."""
        made = self.student.provenance
        if not made:
            return {}
        asked = {"enable_thinking": made.enable_thinking, "chat_template_args": made.chat_template_args or None}
        return {name: value for name, value in asked.items() if value is not None}

    def _check_becoming(self, student: Student, base: ModelSource) -> None:
        """Refuse a student of another base than ``base``, or one whose thoughts nothing splits from its answers."""
        check_thinking(student.provenance.enable_thinking if student.provenance else None, self.think_end_token)
        if student.base != base:
            raise ConfigError(f"the student is for {student.base}, but {base} is loaded")

    def _take_template(self) -> None:
        """Ask in the student's chat template, told what it was told; without one, in the base's own."""
        made = self.student.provenance
        self.chat_template_args = made.template_arguments if made else {}
        self.enable_thinking = made.enable_thinking if made else None
        self.tokenizer.chat_template = self._own_template
        set_chat_template(self.tokenizer, self.student.chat_template)
        self._warned = False

    def _saved(self, folder: str, method: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
        """A saved student, on the base that it was made for or, where that is not here, as its merged checkpoint."""
        trusted = bool(arguments.pop("trust_remote_code", False))
        if taken := sorted({*arguments} & {*FIELDS} | ({"method"} if method or self.METHOD else set())):
            raise ConfigError(
                f"student={folder} is finished: {', '.join(taken)} cannot be changed. Leave it out, or transfer anew."
            )
        self.student = load_student(folder)
        # Who made the student trusted the base's code; who evaluates it has to say so as well.
        self.source = replace(self.student.base, trust_remote_code=trusted)
        self.student = replace(self.student, base=self.source)
        made = self.student.provenance
        try:
            whole = made.teacher_digest if made and made.method == "teacher" else made and made.student_digest
            if made and self.source.transfer_digest != whole:
                raise MissingDataError(f"the model {self.source} is another one than this student was made for")
        except MissingDataError as error:
            merged = Path(folder) / "merged"
            if not merged.is_dir():
                raise MissingDataError(
                    f"student={folder}: {error} A merged checkpoint would do instead: `pkt-eval transfer … --out DIR` "
                    "writes one"
                ) from error
            check_listed(folder, merged)
            log.warning("%s The merged checkpoint %s is evaluated instead", error, merged)
            self.student, self.source = replace(self.student, edits=()), ModelSource(str(merged))
        return arguments

    def _transferred(
        self, method: str | None, arguments: dict[str, Any], device: str, think_end: object
    ) -> dict[str, Any]:
        """Make the student, or take it from the store; returns what is left for the engine."""
        if self.METHOD and method and method != self.METHOD:
            raise ConfigError(f"this model is method={self.METHOD}; for method={method} use --model pkt_student")
        method = self.METHOD if method is None else method
        if method is None:
            if arguments.get("teacher"):
                raise ConfigError("teacher= is given but method= is not; `pkt-eval methods` lists the methods")
            method = "vanilla"
            log.warning("no method= given: this is the vanilla student; `pkt-eval methods` lists the methods")
        also = [*hf_arguments.HF_ARGUMENTS, *hf_arguments.HANDED_ON, "student"]
        ours, others = split_arguments({**arguments, "method": method}, also=also)
        recipe = make_recipe(ours)
        check_thinking(recipe.enable_thinking, think_end)
        self.student = processes.make_once(Transfer(recipe, device))
        self.source = self.student.base
        return others

    # What follows keeps caches and formats honest.

    @property
    def tokenizer_name(self) -> str:
        """Key of lm-eval's ``--cache_requests``: prompts depend on the chat template and on what it is told, too."""
        told = json.dumps(self.chat_template_args, sort_keys=True, default=str) if self.chat_template_args else ""
        template = hashlib.sha256(f"{self.tokenizer.chat_template or ''}{told}".encode()).hexdigest()
        return f"{super().tokenizer_name}__{template[:12]}"

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Give this student a table of its own in lm-eval's ``--use_cache``, whose keys are prompts alone."""
        answers = getattr(cache_hook, "dbdict", None)
        if answers is not None:
            answers.tablename = f"pkt_{self.cache_key()}"
            answers.conn.execute(f'CREATE TABLE IF NOT EXISTS "{answers.tablename}" (key TEXT PRIMARY KEY, value BLOB)')
            answers.conn.commit()
        super().set_cache_hook(cache_hook)

    def cache_key(self) -> str:
        """sha256 of everything on the model's side that decides an answer."""
        made = self.student.provenance
        parts = [
            made.fingerprint if made else None,
            made.weights_digest if made else self.student.weights_digest(),
            self.source.digest,
            hf_arguments.content_digest(self.telling),
            self.evaluated_in,
            self.max_length,
            self.think_end_token,
            *self._decided_by(),
            str(self.tokenizer.chat_template),
            str(self.chat_template_args),
            sorted(versions().items()),
            importlib.metadata.version("lm_eval"),
            sources.digest(sources.SCORING),
        ]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> str:
        """As the engine; remembered, to warn where a chat task is asked without it."""
        self._chat_applied = True
        return super().apply_chat_template(*args, **kwargs)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """As the engine; warns where another template is asked for than the student was transferred in."""
        self._chat_applied = self._chat_applied or bool(chat_template)  # requests may have been built for another model
        if isinstance(chat_template, str) and self.student.chat_template:
            self._warn(f"--apply_chat_template {chat_template} differs from the format this student was transferred in")
        return super().chat_template(chat_template)

    def generate_until(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[str]:
        """As the engine; warns of a format mismatch, and has code judged while the next answers are generated."""
        self._check_format(requests)
        self._endings = Endings(JudgedAhead(self.cache_hook, requests))
        with self._keeping(self._endings):
            texts = self._generated(requests, *args, **kwargs)
        return self._endings.answers(requests, texts, lambda text: len(self.tok_encode(text, add_special_tokens=False)))

    def _note(self, found: list[Ending]) -> None:
        """How the answers that come next ended."""
        if self._endings:
            self._endings.begin(found)

    def loglikelihood(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        """As the engine; warns of a format mismatch.

        Raises:
            DataError: A log-likelihood is no number: the model is broken, and its scores would look ordinary.
        """
        self._check_format(requests)
        with self._keeping(OnlyNumbers(self.cache_hook)):
            answers = super().loglikelihood(requests, *args, **kwargs)
        self._check_numbers([value for value, _ in answers], requests)
        return answers

    def loglikelihood_rolling(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[float]:
        """As the engine.

        Raises:
            DataError: As ``loglikelihood``.
        """
        with self._keeping(OnlyNumbers(self.cache_hook)):
            answers: list[float] = super().loglikelihood_rolling(requests, *args, **kwargs)
        self._check_numbers(answers, requests)
        return answers

    def _check_numbers(self, values: list[float], requests: list[Any]) -> None:
        if broken := [i for i, value in enumerate(values) if not math.isfinite(value)]:
            dtype = self.evaluated_in
            raise DataError(
                f"{self.source} gives {values[broken[0]]} as the log-likelihood of {len(broken)} of {len(values)} "
                f"answers, first in {requests[broken[0]].task_name}: its weights are broken, or overflow in "
                f"{dtype}{'' if dtype == 'float32' else '; try dtype=float32'}"
            )

    @contextmanager
    def _keeping(self, hook: Any) -> Iterator[None]:
        """Have another hook called with each answer while the body runs."""
        before, self.cache_hook = self.cache_hook, hook
        try:
            yield
        finally:
            self.cache_hook = before

    def _check_format(self, requests: list[Any]) -> None:
        chat = {r.task_name for r in requests if is_chat_task(r.task_name or "")}
        if chat and not self._chat_applied:
            self._warn(
                f"{', '.join(sorted(chat))} without --apply_chat_template: the student is asked in another format than "
                "it was transferred in, and will score lower than it can"
            )

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning(message)

    def provenance_info(self) -> dict[str, Any]:
        """For ``config`` of the results JSON: the student's provenance, and arguments that made it another model."""
        info: dict[str, Any] = {"pkt": self.student.provenance.to_json() if self.student.provenance else None}
        if self.telling:
            info |= {"pkt_hf": without_secrets(self.telling)}
            info |= {"pkt_hf_digest": hf_arguments.content_digest(self.telling)}
        return info


class OnlyNumbers:
    """An lm-eval cache hook that keeps no log-likelihood that is no number: it would be served, not asked for again.

    Args:
        hook: The hook that was there.
    """

    def __init__(self, hook: Any) -> None:
        self.hook = hook

    def add_partial(self, attribute: str, request: tuple[Any, ...], answer: Any) -> None:
        """Called by the model for each answer."""
        if math.isfinite(answer[0] if isinstance(answer, tuple) else answer):
            self.hook.add_partial(attribute, request, answer)


@contextmanager
def loading(engine: str, source: ModelSource, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Say in one line what an engine cannot do with its arguments; it and its libraries raise types of their own.

    Raises:
        ConfigError: It failed; says with which arguments.
    """
    try:
        yield
    except (PKTError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        given = ", ".join(f"{name}={value}" for name, value in arguments.items() if not is_secret(name, value))
        raise ConfigError(f"{engine} cannot load {source} with {given}: {said_by(error)}") from error


def share_log() -> None:
    """Let our messages go where lm-eval's go, at its verbosity."""
    theirs, ours = logging.getLogger("lm_eval"), logging.getLogger("pkt_eval")
    ours.setLevel(theirs.level)
    ours.propagate = theirs.propagate
    for handler in theirs.handlers:
        ours.addHandler(handler)  # once: a logger does not take the same handler twice


def check_thinking(asked: bool | None, end: object) -> None:
    """As ``hf``, but before the work."""
    if asked and end is None:
        raise ConfigError(
            "enable_thinking=True needs think_end_token=, the token after which the answer stands: give both, or "
            "leave enable_thinking out"
        )
