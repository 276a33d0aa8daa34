"""lm-eval's view of a benchmark: the task class behind every YAML in ``tasks/``.

It differs from lm-eval's own class in one thing: rows come from ``sources``, so a task's ``dataset_path`` is
one of our benchmarks and its ``dataset_name``, for MMLU, a subject. lm-eval's hook for this,
``custom_dataset``, would print a two-line warning for each of the 57 subjects, and fail where a model
argument has the name of one of its arguments.
"""

from dataclasses import replace
from typing import Any

from lm_eval.api.task import ConfigurableTask

from pkt_eval.code.levels import choose
from pkt_eval.data.sources import load_dataset
from pkt_eval.lm.excepthook import end_lm_eval_in_one_line
from pkt_eval.lm.task_functions import CODE_FILTERS, CodeFilter

end_lm_eval_in_one_line()


class BenchmarkTask(ConfigurableTask):
    """A YAML task whose rows come from :mod:`pkt_eval.data.sources`.

    ``data_dir`` in lm-eval's metadata (``--metadata '{"data_dir": …}'``) names the local folder; all else in
    there, such as the model's arguments, is none of our business.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        # lm-eval leaves the key that named this class in the configuration, where its own parser rejects it.
        super().__init__(config={key: value for key, value in config.items() if key != "class"})
        for chain in self.config.filter_list or ():
            for step in chain["filter"]:
                if isinstance(code := step.get("filter_fn"), CodeFilter):
                    choose()  # before a model is loaded for answers that could then not be judged
                    CODE_FILTERS[self.config.task] = code

    def keep_requests(self) -> None:
        """Build requests once for each way of asking, where several models of one tokenizer are asked."""
        self._kept: dict[str, list[Any]] | None = {}

    def build_all_requests(self, **how: Any) -> None:
        """As lm-eval's; see :meth:`keep_requests`."""
        kept = getattr(self, "_kept", None)
        if kept is None:
            return super().build_all_requests(**how)
        key = repr(sorted((k, v) for k, v in how.items() if k != "chat_template"))  # its hash is in tokenizer_name
        if key not in kept:
            super().build_all_requests(**how)
            kept[key] = self._instances
        # Answers are put into an instance, so that each model needs its own.
        self._instances = [replace(i, resps=[], filtered_resps={}) for i in kept[key]]

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Load the dataset; lm-eval calls it once, when the task is built.

        Raises:
            MissingDataError: the rows are not there; the message says what to set.
        """
        data_dir = (self.config.metadata or {}).get("data_dir")
        self.dataset = load_dataset(self.DATASET_PATH, data_dir=data_dir, subject=self.DATASET_NAME)
