"""lm-eval's view of a benchmark: the task class behind every YAML in ``tasks/``.

It differs from lm-eval's own class in four things. Rows come from ``data.sources``, so a task's ``dataset_path`` is
one of our benchmarks and its ``dataset_name``, for MMLU, a subject; lm-eval's hook for this,
``custom_dataset``, would print a two-line warning for each of the 57 subjects, and fail where a model
argument has the name of one of its arguments. How answers ended, where the model says it (``lm.answers``), is scored
beside them. Functions that have to know the benchmark
(``lm.task_functions.OfBenchmark``) are told it. And what ``--cache_requests`` keeps is served for the same rows, asked
in the same words, alone: lm-eval's own key knows the task's name and the tokenizer's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from pkt_eval._util.digests import combine_digests
from pkt_eval._util.sources import SCORING
from pkt_eval._util.sources import digest as digest_of_sources
from pkt_eval.code.levels import choose_level
from pkt_eval.data.sources import load_dataset
from pkt_eval.lm.answers import BETTER, METRICS, metrics_of
from pkt_eval.lm.task_functions import CODE_FILTERS, CodeFilter, OfBenchmark


class BenchmarkTask(ConfigurableTask):
    """A YAML task whose rows come from ``pkt_eval.data.sources``.

    ``data_dir`` in lm-eval's metadata (``--metadata '{"data_dir": …}'``) names the local folder; all else in
    there, such as the model's arguments, is none of our business.
    """

    _instances: list[Any]
    _kept: dict[str, list[Any]] | None = None
    _fewshot_seed: int | None = None
    _doc_id: int = -1
    _ends: Mapping[int, dict[str, float]] = {}  # replaced, never changed

    def __init__(self, config: dict[str, Any]) -> None:
        # lm-eval leaves the key that named this class in the configuration, where its own parser rejects it.
        own = {key: value for key, value in config.items() if key != "class"}
        super().__init__(config=_bound(own, str(own.get("dataset_path"))))
        for chain in self.config.filter_list or ():
            for step in chain["filter"]:
                if isinstance(code := step.get("filter_fn"), CodeFilter):
                    choose_level()  # before a model is loaded for answers that could then not be judged
                    CODE_FILTERS[self.config.task] = code

    def apply_filters(self) -> Any:
        """As lm-eval's; then it is known how the answers ended."""
        filtered = super().apply_filters()
        self._ends = metrics_of(self._instances) if self.OUTPUT_TYPE == "generate_until" else {}
        return filtered

    def doc_iterator(self, **how: Any) -> Iterator[tuple[int, Any]]:
        """As lm-eval's; the document that is looked at is remembered, for ``process_results`` is not told which."""
        for self._doc_id, doc in super().doc_iterator(**how):
            yield self._doc_id, doc

    def process_results(self, doc: Any, results: Any) -> dict[str, Any]:
        """As lm-eval's, and how the answers ended."""
        return {**super().process_results(doc, results), **self._ends.get(self._doc_id, {})}

    def aggregation(self) -> dict[str, Any]:
        """As lm-eval's: of how answers ended the mean."""
        return {**dict.fromkeys(METRICS, mean), **super().aggregation()}

    def higher_is_better(self) -> dict[str, bool]:
        """As lm-eval's."""
        return {**(BETTER if self._ends else {}), **super().higher_is_better()}

    def keep_requests(self) -> None:
        """Build requests once for each way of asking, where several models of one tokenizer are asked."""
        self._kept = {}

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        """As lm-eval's; remembered, since it decides which examples a prompt has."""
        self._fewshot_seed = seed
        super().set_fewshot_seed(seed)

    def build_all_requests(self, **how: Any) -> None:
        """As lm-eval's, but for the key of its cache; see also ``keep_requests``."""
        if how.get("cache_requests"):
            # The one part of lm-eval's key that is ours to say, and that nothing else looks at.
            how["tokenizer_name"] = f"{how.get('tokenizer_name', '')}__{self._asked_digest(how)}"
        if self._kept is None:
            super().build_all_requests(**how)
            return
        key = repr(sorted((k, v) for k, v in how.items() if k != "chat_template"))  # its hash is in tokenizer_name
        if key not in self._kept:
            super().build_all_requests(**how)
            self._kept[key] = self._instances
        # Answers are put into an instance, so that each model needs its own.
        self._instances = [replace(i, resps=[], filtered_resps={}) for i in self._kept[key]]

    def _asked_digest(self, how: dict[str, Any]) -> str:
        """sha256 of what decides the prompts and is not in lm-eval's key: rows, wording, examples, template."""
        # In the metadata are the model's arguments and the place of the rows, which are here themselves.
        others = ("metadata", "filter_list", "metric_list", "process_results")
        config = {key: value for key, value in self.dump_config().items() if key not in others}
        parts: dict[str, object] = {
            "rows": {split: combine_digests({"rows": rows.to_list()}) for split, rows in self.dataset.items()},
            "config": repr(sorted(config.items())),
            "sources": digest_of_sources(SCORING),
            "samples": how.get("samples"),
            "fewshot_seed": self._fewshot_seed,
            "template": _rendered(how.get("chat_template")),
        }
        return combine_digests(parts)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Load the dataset; lm-eval calls it once, when the task is built.

        Raises:
            MissingDataError: The rows are not there; the message says what to set.
        """
        data_dir = (self.config.metadata or {}).get("data_dir")
        self.dataset = load_dataset(self.DATASET_PATH, data_dir=data_dir, subject=self.DATASET_NAME)


def _rendered(template: Callable[..., str] | None) -> str | None:
    """A short chat as the template writes it, and so with its arguments and, where it prints one, the date."""
    return template([{"role": "user", "content": "?"}], add_generation_prompt=True) if template else None


def _bound(value: Any, benchmark: str) -> Any:
    """A configuration in which everything that has to know the benchmark does."""
    if isinstance(value, OfBenchmark):
        return value.of(benchmark)
    if isinstance(value, dict):
        return {key: _bound(part, benchmark) for key, part in value.items()}
    if isinstance(value, list):
        return [_bound(part, benchmark) for part in value]
    return value
