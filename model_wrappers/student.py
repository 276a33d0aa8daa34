"""``pkt_student``: lm-eval's ``hf`` plus a transfer.

``pretrained=`` is the student's base and every other argument of ``hf`` keeps its meaning. The transfer happens
before the base is loaded; the loaded weights are then edited in place, so that device_map, parallelize and dtype keep
working.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from lm_eval.models.huggingface import HFLM

from pkt_eval._util.devices import check_device, default_device, native_dtype
from pkt_eval._util.hub import offline_if_unreachable
from pkt_eval.errors import ConfigError, IncompatiblePairError, PKTError
from pkt_eval.inference.greedy import Ending, ending_tokens, refuse_nan
from pkt_eval.lm.generic_text import GenericEntropy, generic_entropy, generic_text
from pkt_eval.lm.patches import silence_git
from pkt_eval.model_wrappers import hf_arguments, scoring
from pkt_eval.model_wrappers.evaluated import Evaluated, loading, share_log
from pkt_eval.model_wrappers.generate import applies, endings, shrinking, stop_sequences
from pkt_eval.models.beside import Beside
from pkt_eval.models.source import CheckedLoading, ModelSource, check_finite
from pkt_eval.models.student import LOST, Student, set_chat_template, two_dtypes
from pkt_eval.transfer import processes
from pkt_eval.transfer.words import FIELDS

log = logging.getLogger(__name__)

_AS_ASKED = "generate as its generation_config.json and the task ask"


class PKTStudent(Evaluated, HFLM):
    """A transferred student under evaluation.

    Args:
        method: How the student is made; ``pkt-eval methods`` lists them.
        student: Folder of a saved student (``pkt-eval transfer … --out DIR``), instead of a recipe.
        backend: ``vllm``, to have vLLM answer (``pkt_eval.model_wrappers.vllm``), else as ``hf``'s.
        stock_loops: Answer by ``hf``'s own loops: each text from its first token, and a batch until its last answer.
        **arguments: Options of the recipe, of the method and of ``hf``; with neither ``pretrained`` nor ``teacher`` the
            embedded nano family is used.

    Raises:
        ConfigError: An option is unknown to all three, or something is missing; the message says what to do.
    """

    def __new__(cls, *args: Any, backend: str = "default", **arguments: Any) -> Any:
        """A student that vLLM answers for is no ``hf``."""
        if backend != "vllm":
            return super().__new__(cls)
        from pkt_eval.model_wrappers.vllm import VLLMStudent

        return type(f"{cls.__name__}OfVLLM", (VLLMStudent,), {"METHOD": cls.METHOD})(*args, **arguments)

    AUTO_MODEL_CLASS: Any  # lm-eval's own, whose types mypy does not find

    def __init__(
        self, method: str | None = None, student: str | None = None, stock_loops: bool = False, **arguments: Any
    ) -> None:
        share_log()
        if not isinstance(stock_loops, bool):
            raise ConfigError(f"stock_loops={stock_loops!r} is neither true nor false")
        self._stock = stock_loops
        silence_git()
        self._beside: Beside | None = None
        self._generic: GenericEntropy | None = None
        hf = {k: arguments.pop(k) for k in list(arguments) if k in hf_arguments.HF_ARGUMENTS and k not in FIELDS}
        hf_arguments.check_arguments(hf)
        hf_arguments.check_others(arguments)
        device = _device(hf.get("device"))
        if not hf.get("device"):  # as ``simple_evaluate`` calls it, which ``hf`` cannot be called with
            hf["device"] = device
        extra = self.resolve(method, student, arguments, device, hf.get("think_end_token"))
        hf |= self.template_arguments()
        if hf.get("dtype", "auto") == "auto":
            hf["dtype"] = _evaluation_dtype(self.source, device)
            if student is not None and self.student.edits and (said := two_dtypes(student, device)):
                log.info(said)
        self.telling = hf_arguments.telling({**hf, **extra})
        if processes.world() > 1:
            processes.join_others()
        hf_arguments.check_tokens(hf, self.source)
        self._open({**hf, **extra})
        if hasattr(self, "accelerator") and self.world_size == 1:
            # `hf` shares the work only among several GPUs of one machine; elsewhere everybody would do all of it.
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes

    def _open(self, arguments: dict[str, Any]) -> None:
        """Load the model as ``hf`` does; what it cannot do with its arguments is said in one line."""
        named = [arguments.get(name) for name in ("tokenizer", "peft", "delta")]
        with loading("hf", self.source, arguments), offline_if_unreachable(self.source.path, *named):
            super().__init__(pretrained=self.source.path, **self.source.arguments, **arguments)

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
        self._check_becoming(student, self.source)
        if self._beside:
            self._beside.remove()
        elif self.student.edits:
            raise ConfigError(f"the edits of the first student are in the weights of {self.source}: load it anew")
        self.student = student
        self._generic = None
        self._beside = student.attach(self._model)
        self._take_template()

    @property
    def evaluated_in(self) -> str:
        """The dtype of the evaluation."""
        return str(self.model.dtype).removeprefix("torch.")

    def _decided_by(self) -> list[Any]:
        return [self.add_bos_token, self.truncation, self._stock]

    def _generated(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Requests of the same options at a time, by our own loop where it gives what ``hf`` gives."""
        if self._stock or not scoring.known(self):
            return self._stock_answers(requests, disable_tqdm)
        texts = [""] * len(requests)
        for group in scoring.alike(requests):
            some = [requests[i] for i in group]
            if scoring.greedy(self, some[0].args[1]):
                answers = scoring.generate(self, some, disable_tqdm or self.rank != 0, self._note)
            else:
                answers = self._stock_answers(some, disable_tqdm)
            for i, answer in zip(group, answers, strict=True):
                texts[i] = answer
        return texts

    def _stock_answers(self, requests: list[Any], quiet: bool) -> list[str]:
        texts: list[str] = HFLM.generate_until(self, requests, quiet)
        return texts

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
            options["logits_processor"], texts = [refuse_nan], stop
        else:
            ended = stop_sequences(self.tokenizer, stop, context.shape[1])
            options["custom_generate"], texts = shrinking(ended), []
        try:
            tokens = super()._model_generate(context, max_length, texts, **options)
        except PKTError:
            raise
        except (ValueError, TypeError, ImportError) as error:
            raise ConfigError(f"{self.source} cannot {_AS_ASKED}: {error}") from error
        if len(tokens) != len(context):
            raise ConfigError(f"{self.source} cannot {_AS_ASKED}: num_return_sequences is not 1")
        self._note(self._ended(tokens[:, context.shape[1] :].tolist(), stop))
        return tokens

    def _ended(self, rows: list[list[int]], stop: list[str]) -> list[Ending]:
        ends = ending_tokens(self.model, self.eot_token_id)

        def met(row: Sequence[int]) -> bool:
            return any(text in self.tokenizer.decode(row) for text in stop)

        return endings(rows, ends, self.tokenizer.pad_token_id, met)

    def get_model_info(self) -> dict[str, Any]:
        """As ``hf``, and, for ``config`` of the results JSON, the student's provenance under ``pkt``.

        ``pkt_generic`` is what it makes of text that it was not taught; ``pkt_hf`` are arguments that made it another.
        """
        info = super().get_model_info() | self.provenance_info()
        if generic := self._on_generic_text():
            info |= {"pkt_generic": generic}
        return info

    def _on_generic_text(self) -> GenericEntropy | None:
        """Measured once a student; None where this process alone cannot have the model answer."""
        if self.backend != "causal" or "FullySharded" in type(self._model).__name__:
            return None
        if self._generic is None:
            self._generic = generic_entropy(self.model, self.tokenizer, generic_text(self.source.path))
        return self._generic


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
