"""``backend=vllm``: a student that vLLM answers for, by lm-eval's own ``vllm``, with its prefixes cached.

One engine holds a base. A student of low rank is an adapter beside it, which each request names, so that one student
after the other is asked of the same engine; any other is written merged, and an engine of its own is loaded.
"""

import dataclasses
import gc
import inspect
import logging
import tempfile
from collections import deque
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pkt_eval._util.devices import default_device, release_memory
from pkt_eval.errors import ConfigError, PrerequisiteError
from pkt_eval.inference.greedy import Ending
from pkt_eval.lm.patches import silence_git
from pkt_eval.model_wrappers.evaluated import Evaluated, loading, share_log
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student
from pkt_eval.transfer import processes
from pkt_eval.transfer.words import FIELDS

try:
    from lm_eval.models.vllm_causallms import VLLM
    from vllm.engine.arg_utils import EngineArgs
    from vllm.lora.request import LoRARequest
except (ImportError, PackageNotFoundError) as error:  # lm-eval asks for the version of a distribution `vllm`
    raise PrerequisiteError(
        f"backend=vllm needs vLLM, which cannot be imported ({error}): pip install 'pkt-eval[vllm]'"
    ) from error

log = logging.getLogger(__name__)

_ENGINE = frozenset(field.name for field in dataclasses.fields(EngineArgs))
_WORDS = frozenset(inspect.signature(VLLM.__init__).parameters) - {"self", "kwargs"} | _ENGINE
"""Arguments of lm-eval's ``vllm`` and of the engine."""
_OURS = frozenset({"pretrained", "model", "lora_local_path", "enable_lora", "lora_target_modules", "device"})
_HARMLESS = frozenset(
    "dtype revision trust_remote_code batch_size max_batch_size max_lora_rank think_end_token enable_thinking "
    "chat_template_args tensor_parallel_size data_parallel_size pipeline_parallel_size gpu_memory_utilization "
    "max_num_seqs max_num_batched_tokens enable_prefix_caching enforce_eager seed block_size swap_space "
    "cpu_offload_gb disable_log_stats download_dir load_format".split()
)
"""Where and how fast it is computed, and what is recorded elsewhere."""


_TARGETS = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")]
"""Modules that adapters are for. Not the output embedding: where that may have one, vLLM fails at likelihoods."""


class VLLMStudent(Evaluated, VLLM):
    """A transferred student that vLLM answers for.

    Args:
        method: As ``pkt_student``'s.
        student: As ``pkt_student``'s.
        **arguments: Options of the recipe, of the method, of lm-eval's ``vllm`` and of vLLM's engine.

    Raises:
        ConfigError: An option is unknown, or vLLM cannot load the model; says what it said.
        PrerequisiteError: vLLM is not installed.
    """

    def __init__(self, method: str | None = None, student: str | None = None, **arguments: Any) -> None:
        share_log()
        silence_git()
        if processes.world() > 1:
            raise ConfigError("vLLM shares the work itself: run one process, with tensor_parallel_size=")
        vllm = {k: arguments.pop(k) for k in list(arguments) if k in _WORDS | {"device"} and k not in FIELDS}
        if taken := sorted({*vllm} & (_OURS - {"device"})):
            raise ConfigError(f"backend=vllm sets {', '.join(taken)} itself: leave it out")
        device = default_device()
        _check_device(vllm.pop("device", None), device)
        self._device = torch.device(device)
        extra = self.resolve(method, student, arguments, device, vllm.get("think_end_token"))
        if extra:
            raise ConfigError(f"neither the recipe, nor vLLM, has {', '.join(sorted(extra))}")
        vllm = {"batch_size": "auto", "dtype": "auto", "enable_prefix_caching": True, "max_lora_rank": 64} | vllm
        self._arguments: dict[str, Any] = vllm | self.template_arguments()
        self.telling = {k: v for k, v in self._arguments.items() if k not in _HARMLESS}
        self._folder = tempfile.TemporaryDirectory(prefix="pkt-vllm-")
        self._base, self._written = self.source, 0
        self._load()

    def become(self, student: Student) -> None:
        """Answer for another student of the same base.

        Args:
            student: The other one.

        Raises:
            ConfigError: It is for another base, or is asked to think and nothing splits its thoughts from its answer.
        """
        self._check_becoming(student, self._base)
        self.student = student
        if self.source == self._base and self._fits(student):
            self._take_template()
            self._name_adapter()
        else:
            self._load()

    def _load(self) -> None:
        """An engine of the base, or of the student's merged checkpoint where no adapter says what it is."""
        self._unload()
        if self._fits(self.student):
            self.source = self._base
        else:
            folder = self._new_folder()
            self.student.save(folder, merged=True)
            self.source = ModelSource(str(folder / "merged"))
            log.info("this student is no adapter that vLLM takes: its merged checkpoint is loaded")
        lora = {"enable_lora": True, "lora_target_modules": _TARGETS}
        with loading("vLLM", self.source, self._arguments):
            VLLM.__init__(self, self.source.path, **lora, **self.source.arguments, **self._arguments)
        self.hf_chat_template = None  # the tokenizer's, which is the student's
        self._own_template = self.tokenizer.chat_template
        self._take_template()
        self._name_adapter()

    def _unload(self) -> None:
        if self.__dict__.pop("model", None) is not None:
            gc.collect()
            release_memory()

    def _fits(self, student: Student) -> bool:
        """Whether the engine takes the student as an adapter, or as the base itself."""
        low = [e for e in student.edits if isinstance(e, LowRankEdit) and e.name.split(".")[-2] in _TARGETS]
        return len(low) == len(student.edits) and max((edit.rank for edit in low), default=0) <= int(
            self._arguments["max_lora_rank"]
        )

    def _name_adapter(self) -> None:
        self.lora_request = None
        if self.student.edits and self.source == self._base:
            folder = self._new_folder()
            self.student.save(folder)
            self.lora_request = LoRARequest(f"student-{self._written}", self._written, str(folder / "adapter"))

    def _new_folder(self) -> Path:
        """Empty; the engine remembers an adapter by its number."""
        self._written += 1
        return Path(self._folder.name) / str(self._written)

    @property
    def pretrained(self) -> str:
        """Folder or hub name of the base."""
        return self._base.path

    @property
    def batch_size_per_gpu(self) -> int | str:
        """Requests that the engine is given at a time; how many it computes at a time is its own affair."""
        size: int | str = self.batch_size
        return size

    @batch_size_per_gpu.setter
    def batch_size_per_gpu(self, rows: int | str) -> None:
        self.batch_size = rows

    @cached_property
    def backend_version(self) -> str:
        """``vllm 0.32.0``."""
        return f"vllm {version('vllm')}"

    @property
    def evaluated_in(self) -> str:
        """The dtype of the evaluation."""
        return str(self.model.llm_engine.model_config.dtype).removeprefix("torch.")

    def _decided_by(self) -> list[Any]:
        return [self.backend_version, self.add_bos_token, self.truncation_side, str(self.lora_request is not None)]

    def _generated(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        with self._keeping(_AsAsked(self.cache_hook, requests)):
            texts: list[str] = VLLM.generate_until(self, requests, disable_tqdm)
        return texts

    def _model_generate(self, requests: Any, generate: bool = False, sampling_params: Any = None) -> Any:
        outputs = super()._model_generate(requests, generate, sampling_params)
        if generate:
            said = [output.outputs[0] for output in outputs]
            self._note([Ending.of(list(one.token_ids), one.finish_reason == "stop") for one in said])
        return outputs

    def get_model_info(self) -> dict[str, Any]:
        """As ``pkt_student``'s, for ``config`` of the results JSON; ``pkt_backend`` says who answered."""
        info = {"model_dtype": self.evaluated_in, "model_revision": self.source.revision or "main"}
        return {**info, **self.provenance_info(), "pkt_backend": self.backend_version}


class _AsAsked:
    """An lm-eval cache hook that keeps an answer with what was asked: lm-eval's ``vllm`` keeps it with what it made of
    that, and so finds none again.

    Args:
        hook: The hook that was there.
        requests: Those that are being answered; of two with one prompt, the first is answered first.
    """

    def __init__(self, hook: Any, requests: list[Any]) -> None:
        self.hook = hook
        self.left: dict[str, deque[Any]] = {}
        for request in requests:
            self.left.setdefault(request.args[0], deque()).append(request.args)

    def add_partial(self, attribute: str, request: tuple[Any, ...], answer: Any) -> None:
        """Called by the model for each answer."""
        self.hook.add_partial(attribute, self.left[request[0]].popleft(), answer)


def _check_device(asked: object, there: str) -> None:
    """lm-eval asks for cuda:0 even where there is none."""
    if asked and str(asked).split(":")[0] not in ("cuda", there):
        raise ConfigError(f"device={asked}: vLLM computes on {there} here; leave device out")


# It says of each adapter that it has no tokenizer of its own.
logging.getLogger("vllm.v1.engine.input_processor").setLevel(logging.ERROR)
