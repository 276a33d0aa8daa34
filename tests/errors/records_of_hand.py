"""Records of one task, in lm-eval's shape."""

import json
from pathlib import Path


def results(**changes: object) -> dict[str, object]:
    """A results JSON of one task, without samples."""
    return {
        "results": {"pkt_gsm8k_chat": {"exact_match,strict-match": 0.5}},
        "configs": {"pkt_gsm8k_chat": {"generation_kwargs": {}}},
        "config": {"model": "hf", "model_args": {"pretrained": "a/b"}},
        "versions": {"pkt_gsm8k_chat": 1},
        "n-shot": {"pkt_gsm8k_chat": 0},
        "n-samples": {"pkt_gsm8k_chat": {"original": 2, "effective": 2}},
        "group_subtasks": {},
        "date": 1.0,
        **changes,
    }


SAMPLE = {
    "doc_id": 0, "doc": {"question": "q"}, "target": "t", "arguments": {"gen_args_0": {"arg_0": "p", "arg_1": {}}},
    "resps": [["a"]], "filtered_resps": ["a"], "filter": "strict-match", "doc_hash": "1" * 64, "prompt_hash": "2" * 64,
    "target_hash": "3" * 64, "exact_match": 0.5,
}  # fmt: skip


def lay(folder: Path, content: object, samples: bytes | None = None) -> None:
    folder.mkdir()
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "results_2026.json").write_bytes(raw)
    if samples is not None:
        (folder / "samples_pkt_gsm8k_chat_2026.jsonl").write_bytes(samples)
