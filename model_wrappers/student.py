"""``pkt_student``: lm-eval's ``hf`` plus a transfer.

``pretrained=`` is the student's base and every other argument of ``hf`` keeps its meaning. The transfer happens
before the base is loaded; the loaded weights are then edited in place, so that device_map, parallelize and dtype keep
working.
"""

import hashlib
import inspect
import logging
from typing import Any

from lm_eval.models.huggingface import HFLM

from pkt_eval._util.devices import default_device, native_dtype
from pkt_eval.data.benchmarks import is_chat_task
from pkt_eval.errors import ConfigError
from pkt_eval.lm.task_functions import JudgedAhead
from pkt_eval.model_wrappers.generate import applies, shrinking, stop_sequences
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student, load_student, set_chat_template
from pkt_eval.transfer import processes
from pkt_eval.transfer.recipe import FIELDS, make_recipe, unknown_options

log = logging.getLogger(__name__)

_HF = frozenset(inspect.signature(HFLM.__init__).parameters) - {"self", "kwargs"}


class PKTStudent(HFLM):
    """A transferred student under evaluation.

    Args:
        method: How the student is made; `pkt-eval methods` lists them.
        student: Folder of a saved student (``pkt-eval transfer … --out DIR``), instead of a recipe.
        **arguments: Options of the recipe, of the method and of ``hf``; with neither ``pretrained`` nor ``teacher`` the
            embedded nano family is used.

    Raises:
        ConfigError: An option is unknown to all three, or something is missing; the message says what to do.
    """

    METHOD: str | None = None

    def __init__(self, method: str | None = None, student: str | None = None, **arguments: Any) -> None:
        _share_log()
        self._chat_applied = False
        self._warned = False
        hf = {k: arguments.pop(k) for k in list(arguments) if k in _HF and k not in FIELDS}
        device = _device(hf.get("device"))
        if student:
            base, extra = self._saved(student, method, arguments)
        else:
            base, extra = self._transferred(method, arguments, device)
        if hf.get("dtype", "auto") == "auto":
            hf["dtype"] = _evaluation_dtype(base, device, self.student.needs_float32)
        if processes.world() > 1:
            processes.join()
        super().__init__(pretrained=base, **{**hf, **extra})
        if hasattr(self, "accelerator") and self.world_size == 1:
            # `hf` shares the work only among several GPUs of one machine; elsewhere everybody would do all of it.
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes

    def _saved(self, folder: str, method: str | None, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """A saved student: its merged checkpoint as the base, and nothing to edit."""
        from dataclasses import replace
        from pathlib import Path

        if taken := sorted({*arguments} & {*FIELDS} | ({"method"} if method or self.METHOD else set())):
            raise ConfigError(
                f"student={folder} is finished: {', '.join(taken)} cannot be changed. Leave it out, or transfer anew."
            )
        saved = load_student(folder)
        merged = Path(folder) / "merged"
        if not merged.is_dir():
            raise ConfigError(f"{folder} has no merged checkpoint; `pkt-eval transfer … --out DIR` writes one")
        self.student = replace(saved, edits=())
        return str(merged), arguments

    def _transferred(self, method: str | None, arguments: dict[str, Any], device: str) -> tuple[str, dict[str, Any]]:
        """Make the student, or take it from the store; returns its base and what is left for ``hf``."""
        if self.METHOD and method and method != self.METHOD:
            raise ConfigError(f"this model is method={self.METHOD}; for method={method} use --model pkt_student")
        method = method or self.METHOD
        if not method:
            if arguments.get("teacher"):
                raise ConfigError("teacher= is given but method= is not; `pkt-eval methods` lists the methods")
            method = "vanilla"
            log.warning("no method= given: this is the vanilla student; `pkt-eval methods` lists the methods")
        from pkt_eval.methods.base import get_method

        options = get_method(method).options()
        ours = {k: arguments.pop(k) for k in list(arguments) if k in FIELDS or k in options}
        if wrong := unknown_options(arguments, [*FIELDS, *options, *_HF, "student"]):
            raise ConfigError(f"method={method}: " + "; ".join(f"{k}= {v}" for k, v in wrong.items()))
        recipe = make_recipe({**ours, "method": method})
        self.student = processes.student_of(recipe, device)
        passed = {"revision": recipe.revision, "trust_remote_code": recipe.trust_remote_code}
        return self.student.base, {**arguments, **(passed if self.student.base == recipe.pretrained else {})}

    def _create_tokenizer(self, *args: Any, **kwargs: Any) -> None:
        super()._create_tokenizer(*args, **kwargs)
        self._own_template = self.tokenizer.chat_template
        set_chat_template(self.tokenizer, self.student.chat_template)

    def _create_model(self, *args: Any, **kwargs: Any) -> None:
        super()._create_model(*args, **kwargs)
        self.student.apply(self._model)

    def become(self, student: Student) -> None:
        """Evaluate another student of the same base, whose weights stay loaded.

        Args:
            student: The other one; its base must be the folder or hub name that was loaded.

        Raises:
            ConfigError: It is for another base.
        """
        if student.base != self.pretrained:
            raise ConfigError(f"the student is for {student.base}, but {self.pretrained} is loaded")
        names = {edit.name for edit in self.student.edits}
        if names:
            parameters = dict(self._model.named_parameters())
            for name, weight in ModelSource(student.base, revision=self.revision).weights(names):
                parameters[name].data.copy_(weight)
        self.student = student
        student.apply(self._model)
        self.tokenizer.chat_template = self._own_template
        set_chat_template(self.tokenizer, student.chat_template)
        self._warned = False

    # What follows keeps caches and formats honest.

    @property
    def tokenizer_name(self) -> str:
        """Key of lm-eval's ``--cache_requests``: prompts depend on the chat template as well as on the tokenizer."""
        template = hashlib.sha256((self.tokenizer.chat_template or "").encode()).hexdigest()
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
        config = self.student.provenance
        parts = [
            config.get("fingerprint"),
            config.get("weights_digest"),
            ModelSource(self.pretrained).digest,
            str(self.model.dtype),
            self.max_length,
            self.add_bos_token,
            self.truncation,
            self.think_end_token,
            str(self.tokenizer.chat_template),
            str(self.chat_template_args),
        ]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> str:
        """As ``hf``; remembered, to warn where a chat task is asked without it."""
        self._chat_applied = True
        return super().apply_chat_template(*args, **kwargs)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """As ``hf``; warns where another template is asked for than the student was transferred in."""
        self._chat_applied = self._chat_applied or bool(chat_template)  # requests may have been built for another model
        if isinstance(chat_template, str) and self.student.chat_template:
            self._warn(f"--apply_chat_template {chat_template} differs from the format this student was transferred in")
        return super().chat_template(chat_template)

    def generate_until(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[str]:
        """As ``hf``; warns of a format mismatch, and has code judged while the next answers are generated."""
        self._check_format(requests)
        hook = self.cache_hook
        self.cache_hook = JudgedAhead(hook, requests)
        try:
            return super().generate_until(requests, *args, **kwargs)
        finally:
            self.cache_hook = hook

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        """As ``hf``, but that answers which have ended are computed no further."""
        if len(context) == 1 or self.backend != "causal" or not applies(self.model, options):
            return super()._model_generate(context, max_length, stop, **options)
        ended = stop_sequences(self.tokenizer, stop, context.shape[1])
        return super()._model_generate(context, max_length, [], custom_generate=shrinking(ended), **options)

    def loglikelihood(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        """As ``hf``; warns of a format mismatch."""
        self._check_format(requests)
        return super().loglikelihood(requests, *args, **kwargs)

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

    def get_model_info(self) -> dict[str, Any]:
        """As ``hf``, and the provenance of the student, under ``pkt``: it ends up in ``config`` of the results JSON."""
        return {**super().get_model_info(), "pkt": self.student.provenance}


class PKTVanilla(PKTStudent):
    """``pkt_vanilla``: the student's base."""

    METHOD = "vanilla"


class PKTLoRA(PKTStudent):
    """``pkt_lora``: LoRA fine-tuning, no teacher."""

    METHOD = "lora"


class PKTPostPKT(PKTStudent):
    """``pkt_postpkt``: Seeking, the PostPKT method."""

    METHOD = "seeking"


class PKTPrePKT(PKTStudent):
    """``pkt_prepkt``: LaTen, the PrePKT method."""

    METHOD = "laten"


def _share_log() -> None:
    """Let our messages go where lm-eval's go, at its verbosity."""
    theirs, ours = logging.getLogger("lm_eval"), logging.getLogger("pkt_eval")
    ours.setLevel(theirs.level)
    ours.propagate = theirs.propagate
    for handler in theirs.handlers:
        ours.addHandler(handler)  # once: a logger does not take the same handler twice


def _device(asked: str | None) -> str:
    """The device that ``hf`` will choose: lm-eval asks for cuda:0 even where there is none."""
    there = default_device()
    if asked and not str(asked).startswith("cuda"):
        return str(asked)
    return str(asked or there) if there == "cuda" else there


def _evaluation_dtype(base: str, device: str, needs_float32: bool) -> Any:
    """The checkpoint's dtype, or float32 for edits that need it or on a CPU that is slow in it, which is said."""
    import torch

    stored = getattr(ModelSource(base).config, "dtype", None) or torch.float32
    if needs_float32 and stored != torch.float32:
        log.warning(
            "this student's edits are too small for %s: evaluating in float32; give dtype=float32 to the students that "
            "it is compared with, too",
            _short(stored),
        )
        return torch.float32
    chosen = native_dtype(stored, device)
    if chosen != stored:
        log.warning("this CPU has no fast %s: evaluating in %s (choose with dtype=)", _short(stored), _short(chosen))
    return chosen


def _short(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
