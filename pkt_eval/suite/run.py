"""A run of a suite in a folder: what is finished is kept, the rest is given to an engine."""

from pkt_eval._util.files import save_text
from pkt_eval.errors import ConfigError
from pkt_eval.suite.engine import engine_of
from pkt_eval.suite.folder import ProgressFile, alone
from pkt_eval.suite.names import SUITE
from pkt_eval.suite.state import Statuses
from pkt_eval.suite.work import Work


class Run(Work):
    """The work of a suite, to be done alone in its folder."""

    def run(self) -> Statuses:
        """Do all that is left to do; one failing cell does not keep the others from being done.

        Raises:
            ConfigError: Another run works in the same folder, or nobody has agreed to run a model's code.
            StoreError: It cannot be written.
            PrerequisiteError: What the engine needs is not installed.
        """
        if lacking := self.suite.lacks_consent:
            raise ConfigError(lacking)
        with alone(self.out):
            save_text(self.out / SUITE, self.suite.model_dump_json(indent=1) + "\n")
            progress = ProgressFile(self.out)
            self.state.watch(progress.show)
            try:
                self.mark_finished(self.cells)
                engine_of(self.suite)(self).run(self.state.waiting(self.cells))
            finally:
                progress.write(self.state.statuses)
        return self.state.statuses
