"""``pkt_student``: lm-eval's ``hf`` plus a transfer.

``pretrained=`` is the student's base and every other argument of ``hf`` keeps its meaning. The transfer happens
before the base is loaded; the loaded weights are then edited in place, so that device_map, parallelize and dtype keep
working.
"""

import hashlib
import importlib.metadata
import json
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from lm_eval.models.huggingface import HFLM

from pkt_eval._util import sources
from pkt_eval._util.devices import check_device, default_device, native_dtype
from pkt_eval._util.hub import offline_if_unreachable
from pkt_eval._util.secrets import is_secret, without_secrets
from pkt_eval.data.benchmarks import is_chat_task
from pkt_eval.errors import ConfigError, DataError, IncompatiblePairError, MissingDataError, PKTError
from pkt_eval.inference.greedy import Ending, ending_tokens, refuse_nan
from pkt_eval.lm.generic_text import GenericEntropy, generic_entropy, generic_text
from pkt_eval.lm.patches import silence_git
from pkt_eval.lm.task_functions import JudgedAhead
from pkt_eval.model_wrappers import hf_arguments, scoring
from pkt_eval.model_wrappers.generate import Endings, applies, endings, shrinking, stop_sequences
from pkt_eval.models.beside import Beside
from pkt_eval.models.source import CheckedLoading, ModelSource, check_finite
from pkt_eval.models.student import LOST, Student, check_listed, load_student, set_chat_template, two_dtypes
from pkt_eval.transfer import processes
from pkt_eval.transfer.arguments import split_arguments
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer, versions
from pkt_eval.transfer.words import FIELDS

log = logging.getLogger(__name__)


class PKTStudent(HFLM):
    """A transferred student under evaluation.

    Args:
        method: How the student is made; ``pkt-eval methods`` lists them.
        student: Folder of a saved student (``pkt-eval transfer … --out DIR``), instead of a recipe.
        stock_loops: Answer by ``hf``'s own loops: each text from its first token, and a batch until its last answer.
        **arguments: Options of the recipe, of the method and of ``hf``; with neither ``pretrained`` nor ``teacher`` the
            embedded nano family is used.

    Raises:
        ConfigError: An option is unknown to all three, or something is missing; the message says what to do.
    """

    METHOD: str | None = None
    AUTO_MODEL_CLASS: Any  # lm-eval's own, whose types mypy does not find
    cache_hook: Any

    def __init__(
        self, method: str | None = None, student: str | None = None, stock_loops: bool = False, **arguments: Any
    ) -> None:
        _share_log()
        if not isinstance(stock_loops, bool):
            raise ConfigError(f"stock_loops={stock_loops!r} is neither true nor false")
        self._stock = stock_loops
        silence_git()
        self._chat_applied = False
        self._warned = False
        self._beside: Beside | None = None
        self._endings: Endings | None = None
        self._generic: GenericEntropy | None = None
        hf = {k: arguments.pop(k) for k in list(arguments) if k in hf_arguments.HF_ARGUMENTS and k not in FIELDS}
        hf_arguments.check_arguments(hf)
        device = _device(hf.get("device"))
        if not hf.get("device"):  # as ``simple_evaluate`` calls it, which ``hf`` cannot be called with
            hf["device"] = device
        if student is not None:
            extra = self._saved(str(student), method, arguments)
        else:
            extra = self._transferred(method, arguments, device, hf.get("think_end_token"))
        if made := self.student.provenance:
            _check_thinking(made.enable_thinking, hf.get("think_end_token"))
            asked = {"enable_thinking": made.enable_thinking, "chat_template_args": made.chat_template_args or None}
            hf |= {name: value for name, value in asked.items() if value is not None}
        if hf.get("dtype", "auto") == "auto":
            hf["dtype"] = _evaluation_dtype(self.source, device)
            if student is not None and self.student.edits and (said := two_dtypes(student, device)):
                log.info(said)
        self.telling = hf_arguments.telling({**hf, **extra})
        if processes.world() > 1:
            processes.join_others()
        self._open({**hf, **extra})
        if hasattr(self, "accelerator") and self.world_size == 1:
            # `hf` shares the work only among several GPUs of one machine; elsewhere everybody would do all of it.
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes

    def _open(self, arguments: dict[str, Any]) -> None:
        """Load the model as ``hf`` does; what it cannot do with its arguments is said in one line."""
        try:
            named = [arguments.get(name) for name in ("tokenizer", "peft", "delta")]
            with offline_if_unreachable(self.source.path, *named):
                super().__init__(pretrained=self.source.path, **self.source.arguments, **arguments)
        except (OSError, ValueError, TypeError, AssertionError, ImportError) as error:
            if isinstance(error, PKTError):
                raise
            said = next(iter(str(error).splitlines()), "") or type(error).__name__
            given = ", ".join(f"{name}={value}" for name, value in arguments.items() if not is_secret(name, value))
            raise ConfigError(f"hf cannot load {self.source} with {given}: {said}") from error

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
        """Make the student, or take it from the store; returns what is left for ``hf``."""
        if self.METHOD and method and method != self.METHOD:
            raise ConfigError(f"this model is method={self.METHOD}; for method={method} use --model pkt_student")
        method = self.METHOD if method is None else method
        if method is None:
            if arguments.get("teacher"):
                raise ConfigError("teacher= is given but method= is not; `pkt-eval methods` lists the methods")
            method = "vanilla"
            log.warning("no method= given: this is the vanilla student; `pkt-eval methods` lists the methods")
        ours, others = split_arguments({**arguments, "method": method}, also=[*hf_arguments.HF_ARGUMENTS, "student"])
        recipe = make_recipe(ours)
        _check_thinking(recipe.enable_thinking, think_end)
        self.student = processes.make_once(Transfer(recipe, device))
        self.source = self.student.base
        return others

    def _create_tokenizer(self, *args: Any, **kwargs: Any) -> None:
        super()._create_tokenizer(*args, **kwargs)
        self._own_template = self.tokenizer.chat_template
        set_chat_template(self.tokenizer, self.student.chat_template)

    def _create_model(self, *args: Any, **kwargs: Any) -> None:
        auto: Any = self.AUTO_MODEL_CLASS
        self.AUTO_MODEL_CLASS = CheckedLoading(auto, self.source)
        try:
            with warnings.catch_warnings():  # peft fills what an adapter lacks with its start
                warnings.filterwarnings("error", message="Found missing adapter keys")
                with _whole_adapter() if kwargs.get("peft") else nullcontext():
                    super()._create_model(*args, **kwargs)
        except UserWarning as warning:
            said = next(iter(str(warning).splitlines()))[:300]
            raise IncompatiblePairError(f"peft={kwargs.get('peft')} is not whole: {said}") from None
        finally:
            self.AUTO_MODEL_CLASS = auto
        if kwargs.get("peft") or kwargs.get("delta"):
            check_finite(self._model, self.source)
        if self.student.edits:
            offloaded = any(parameter.is_meta for parameter in self._model.parameters())
            if offloaded or self.student.lost(self._model) > LOST:
                self._beside = self.student.attach(self._model)
            else:
                self.student.apply(self._model)

    def become(self, student: Student) -> None:
        """Evaluate another student of the same base, whose weights stay as they are.

        Args:
            student: The other one; its base must be the model that was loaded, without edits.

        Raises:
            ConfigError: It is for another base, the edits of the first student are in the weights, or it is asked to
                think and nothing splits its thoughts from its answer.
        """
        made = student.provenance
        _check_thinking(made.enable_thinking if made else None, self.think_end_token)
        if student.base != self.source:
            raise ConfigError(f"the student is for {student.base}, but {self.source} is loaded")
        if self._beside:
            self._beside.remove()
        elif self.student.edits:
            raise ConfigError(f"the edits of the first student are in the weights of {self.source}: load it anew")
        self.student = student
        self._generic = None
        self._beside = student.attach(self._model)
        self.chat_template_args = made.template_arguments if made else {}
        self.enable_thinking = made.enable_thinking if made else None
        self.tokenizer.chat_template = self._own_template
        set_chat_template(self.tokenizer, student.chat_template)
        self._warned = False

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
            str(self.model.dtype),
            self.max_length,
            self.add_bos_token,
            self.truncation,
            self.think_end_token,
            self._stock,
            str(self.tokenizer.chat_template),
            str(self.chat_template_args),
            sorted(versions().items()),
            importlib.metadata.version("lm_eval"),
            sources.digest(sources.SCORING),
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
        self._endings = Endings(JudgedAhead(self.cache_hook, requests))
        with self._keeping(self._endings):
            texts = self._generated(requests, *args, **kwargs)
        return self._endings.answers(requests, texts, lambda text: len(self.tok_encode(text, add_special_tokens=False)))

    def _generated(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Requests of the same options at a time, by our own loop where it gives what ``hf`` gives."""
        if self._stock or not scoring.known(self):
            return super().generate_until(requests, disable_tqdm)
        texts = [""] * len(requests)
        for group in scoring.alike(requests):
            some = [requests[i] for i in group]
            if scoring.greedy(self, some[0].args[1]):
                answers = scoring.generate(self, some, disable_tqdm or self.rank != 0, self._note)
            else:
                answers = super().generate_until(some, disable_tqdm)
            for i, answer in zip(group, answers, strict=True):
                texts[i] = answer
        return texts

    def _note(self, found: list[Ending]) -> None:
        """How the answers that come next ended."""
        if self._endings:
            self._endings.begin(found)

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """As ``hf``; what many texts begin with is computed once."""
        if self._stock or not scoring.shares(self):
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        return scoring.judge_texts(self, requests, override_bs, disable_tqdm or self.rank != 0)

    def _detect_batch_size(self, requests: Any = None, pos: int = 0) -> int:
        """As ``hf``, whose search fills a device's memory; a CPU's is not filled, in minutes, but known."""
        if self.device.type != "cpu" or not scoring.known(self):
            return int(super()._detect_batch_size(requests, pos))
        _, context, continuation = requests[pos] if requests else ("", [], [0] * self.max_length)
        own = not self._stock and scoring.shares(self)
        # `hf` has logits of every token, and their softmax.
        more = 0 if own else 2 * 4 * self.model.config.get_text_config().vocab_size
        return scoring.batch_rows(self, min(len(context) + len(continuation), self.max_length), more)

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        """As ``hf``, but that answers which have ended are computed no further."""
        if self._stock or len(context) == 1 or self.backend != "causal" or not applies(self.model, options):
            options["logits_processor"] = [refuse_nan]
            tokens = super()._model_generate(context, max_length, stop, **options)
        else:
            ended = stop_sequences(self.tokenizer, stop, context.shape[1])
            tokens = super()._model_generate(context, max_length, [], custom_generate=shrinking(ended), **options)
        self._note(self._ended(tokens[:, context.shape[1] :].tolist(), stop))
        return tokens

    def _ended(self, rows: list[list[int]], stop: list[str]) -> list[Ending]:
        ends = ending_tokens(self.model, self.eot_token_id)

        def met(row: Sequence[int]) -> bool:
            return any(text in self.tokenizer.decode(row) for text in stop)

        return endings(rows, ends, self.tokenizer.pad_token_id, met)

    def loglikelihood(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        """As ``hf``; warns of a format mismatch.

        Raises:
            DataError: A log-likelihood is no number: the model is broken, and its scores would look ordinary.
        """
        self._check_format(requests)
        with self._keeping(OnlyNumbers(self.cache_hook)):
            answers = super().loglikelihood(requests, *args, **kwargs)
        self._check_numbers([value for value, _ in answers], requests)
        return answers

    def loglikelihood_rolling(self, requests: list[Any], *args: Any, **kwargs: Any) -> list[float]:
        """As ``hf``.

        Raises:
            DataError: As ``loglikelihood``.
        """
        with self._keeping(OnlyNumbers(self.cache_hook)):
            answers: list[float] = super().loglikelihood_rolling(requests, *args, **kwargs)
        self._check_numbers(answers, requests)
        return answers

    def _check_numbers(self, values: list[float], requests: list[Any]) -> None:
        if broken := [i for i, value in enumerate(values) if not math.isfinite(value)]:
            dtype = _short(self.model.dtype)
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

    def get_model_info(self) -> dict[str, Any]:
        """As ``hf``, and, for ``config`` of the results JSON, the student's provenance under ``pkt``.

        ``pkt_generic`` is what it makes of text that it was not taught; ``pkt_hf`` are arguments that made it another.
        """
        info = super().get_model_info()
        if self.telling:  # another model than its provenance says
            told = without_secrets(self.telling)
            info |= {"pkt_hf": told, "pkt_hf_digest": hf_arguments.content_digest(self.telling)}
        if generic := self._on_generic_text():
            info |= {"pkt_generic": generic}
        return {**info, "pkt": self.student.provenance.to_json() if self.student.provenance else None}

    def _on_generic_text(self) -> GenericEntropy | None:
        """Measured once a student; None where this process alone cannot have the model answer."""
        if self.backend != "causal" or "FullySharded" in type(self._model).__name__:
            return None
        if self._generic is None:
            self._generic = generic_entropy(self.model, self.tokenizer, generic_text(self.source.path))
        return self._generic


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


def _check_thinking(asked: bool | None, end: object) -> None:
    """As ``hf``, but before the work."""
    if asked and end is None:
        raise ConfigError(
            "enable_thinking=True needs think_end_token=, the token after which the answer stands: give both, or "
            "leave enable_thinking out"
        )


def _device(asked: str | None) -> str:
    """The device that ``hf`` will choose: lm-eval asks for cuda:0 even where there is none."""
    there = default_device()
    if there != "cuda" and str(asked or "cuda") in ("cuda", "cuda:0"):
        return there
    return check_device(str(asked or there))


def _evaluation_dtype(source: ModelSource, device: str) -> str:
    """The checkpoint's dtype, or float32 on a CPU that is slow in it, which is said."""
    stored = source.stored_dtype
    chosen = native_dtype(stored, device)
    if chosen != stored:
        log.warning("this CPU has no fast %s: evaluating in %s (choose with dtype=)", stored, chosen)
    return chosen


def _short(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def _whole_adapter() -> Iterator[None]:
    """Have peft refuse what it passes over in silence: tensors of an adapter that its model has no place for."""
    from peft import PeftModel

    load = PeftModel.load_adapter

    def checked(self: PeftModel, folder: Any, *args: Any, **kwargs: Any) -> Any:
        result = load(self, folder, *args, **kwargs)
        if names := result.unexpected_keys:
            raise IncompatiblePairError(
                f"peft={folder} has {len(names)} tensors that the model has no place for, first {names[0]}: it is "
                "another model's adapter, or its adapter_config.json another's"
            )
        return result

    PeftModel.load_adapter = checked
    try:
        yield
    finally:
        PeftModel.load_adapter = load
