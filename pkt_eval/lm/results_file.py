"""What is added to a results JSON before lm-eval writes it, and what is taken out.

Added are digests that bind the samples to it, for no name of a file does, and the student that a merged checkpoint is,
since to lm-eval that is a model like any other. Secrets among the arguments of the model are taken out.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pkt_eval._util.digests import file_digest
from pkt_eval._util.sample_digests import SAMPLE_DIGESTS, SampleDigest
from pkt_eval._util.secrets import without_secrets
from pkt_eval.errors import PKTError

log = logging.getLogger(__name__)

MERGED = "pkt_merged"
"""Key of a results JSON's ``config``: the provenance of the student whose merged checkpoint was evaluated."""


def complete(results: dict[str, Any], samples: Mapping[str, Iterable[Mapping[str, Any]]] | None) -> None:
    """Add what binds results to their samples and to a student, and take secrets out; twice does no harm.

    Args:
        results: Of ``lm_eval.simple_evaluate``; changed at its first two levels.
        samples: Task → samples, if they are to be written.
    """
    from lm_eval.utils import handle_non_serializable

    if samples and SAMPLE_DIGESTS not in results:
        results[SAMPLE_DIGESTS] = {}
        for task, of_task in samples.items():
            digest = SampleDigest(handle_non_serializable)
            for sample in of_task:
                digest.add(sample)
            results[SAMPLE_DIGESTS][task] = digest.hexdigest()
    config = dict(results.get("config") or {})
    if MERGED not in config and (made := _student_merged_in(config.get("model_args"))):
        config[MERGED] = made
    if "model_args" in config:
        config["model_args"] = without_secrets(config["model_args"])
    results["config"] = config
    results["configs"] = {
        task: {**of, "metadata": without_secrets(of["metadata"])} if isinstance(of, dict) and "metadata" in of else of
        for task, of in (results.get("configs") or {}).items()
    }


def _student_merged_in(arguments: object) -> object:
    """The provenance of the student whose merged checkpoint ``pretrained=`` names; None where it names none."""
    if isinstance(arguments, str):
        arguments = dict(pair.split("=", 1) for pair in arguments.split(",") if "=" in pair)
    named = arguments.get("pretrained") if isinstance(arguments, Mapping) else None
    if not named or not (folder := Path(str(named)).resolve()).is_dir():
        return None
    from pkt_eval.models.student import MANIFEST, check_listed, read_manifest  # torch, which an API's model needs not

    student = folder.parent
    if not (student / MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(student)
        listed = {name: digest for name, digest in manifest["files"].items() if name.startswith(f"{folder.name}/")}
        if not listed or manifest["provenance"] is None:
            return None
        check_listed(student, folder)
        changed = [name for name, digest in listed.items() if file_digest(student / name) != digest]
    except (PKTError, OSError) as error:
        changed = [str(error)]
    if changed:
        log.warning(
            "%s is no longer what %s lists, so it counts as a model of its own: %s", folder, MANIFEST, changed[0]
        )
        return None
    return manifest["provenance"]
