"""Files that were altered, and what is secret: neither gets into a page."""

import hashlib
import json
import logging
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pkt_eval._util.boundary import end
from pkt_eval._util.files import new_folder
from pkt_eval._util.secrets import hide_secrets, is_secret, log_no_secret, without_secrets
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.lm.excepthook import OneLine
from pkt_eval.methods import get_method, register
from pkt_eval.report.records import read
from pkt_eval.report.records.digests import CELL, check_digests
from pkt_eval.report.records.keeping import _lines
from pkt_eval.report.records.samples import read_items
from pkt_eval.report.records.students import student_of
from pkt_eval.suite.state import RunState

TOKEN = "hf_" + "aB3" * 11


@pytest.mark.parametrize(
    "value", [TOKEN, {"Authorization": f"Bearer {TOKEN}"}, [f"X: {TOKEN}"], f"https://h/?k={TOKEN}", "https://u:p@h/v1"]
)
def test_a_secret_is_known_wherever_it_stands(value: object) -> None:
    assert is_secret("header", value)


def test_a_path_is_no_secret() -> None:
    assert not is_secret("pretrained", "/data/hf_checkpoints_of_a_run/task-1234567890123456789")


@pytest.mark.parametrize(
    "name",
    [
        *("token", "x-api-key", "Authorization", "accessToken", "AWS_SECRET_ACCESS_KEY", "private_key", " passwd"),
        *("OPENAI_KEY", "HF_TOKEN_READ", "read_token", "TOKEN_2", "openaiKey", "MY_KEY", "WANDB_KEY", "PASSWORD_DB"),
        *("api_key_id", "github.token", "Cookie", "use_auth_token"),
    ],
)
def test_a_secret_is_known_by_its_name_however_that_is_written(name: str) -> None:
    assert is_secret(name, "v") and is_secret("header", {name: "v"})
    assert "hunter2" not in str(without_secrets({"a": [{name: "hunter2"}], "b": {name: "hunter2"}}))
    assert "hunter2" not in hide_secrets(str({"header": {name.strip(): "Bearer hunter2"}}))
    assert without_secrets(f"pretrained=m,{name}=hunter2") == "pretrained=m"


@pytest.mark.parametrize(
    "name",
    "eos_token pad_token_id max_token_length add_bos_token think_end_token image_token_index tokenizer answer_tokens "
    "max_gen_toks key label_key sort_key num_key_value_heads key_proj task_key monkey author".split(),
)
def test_what_decides_an_answer_is_no_secret(name: str) -> None:
    """It would be left out of what makes a model another one."""
    assert not is_secret(name, "v") and without_secrets({name: "v"}) == {name: "v"}
    assert hide_secrets(f"{name}=v,'{name}': 'v' --{name} v") == f"{name}=v,'{name}': 'v' --{name} v"


@pytest.mark.parametrize(
    "text",
    (
        "https://S@host/m|url=https://S@h|git+ssh://S@h:22|redis://:S@h|https://u:S@h/v1|https://h/?token=S&b=1|"
        "https://h/?X-Amz-Signature=S|OPENAI_KEY=S,a=b|'HF_TOKEN_READ': 'S'|\"OPENAI_KEY\": \"S\"|OPENAI_KEY: S|"
        "--token S x|--hf-token=S|Authorization: Bearer S|Authorization: Basic S==|Authorization: Token S|"
        "export HF_TOKEN_READ=S|OSError: at x: HF_TOKEN_READ=S|url=https://h/?a=b&token=S"
    ).split("|"),
)
def test_a_secret_is_shown_in_no_text(
    text: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = re.sub(r"\bS\b", "s3cr3tValue9", text)
    assert "s3cr3t" not in hide_secrets(said) + str(without_secrets({"a": said})) + str(without_secrets(f"a={said}"))
    log_no_secret()
    for name in ("pkt_eval.suite", "lm_eval.models.huggingface", "huggingface_hub"):
        logging.getLogger(name).warning("cannot open %s", said)
    monkeypatch.setenv("PKT_EVAL_DEBUG", "1")
    end("lm_eval", ConfigError(f"unknown {said}"))
    end("lm_eval", OSError(said))
    assert "s3cr3t" not in caplog.text + capsys.readouterr().err


@pytest.mark.parametrize("text", ["a/b@rev", "me@host.org", "https://host/a@v1", "key: value", "--tasks nano_mmlu"])
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert hide_secrets(text) == text


@pytest.mark.parametrize("unit", ["a:", "a.", "-a", "token", "token='", "--a ", "A_KEY:", "://a", "eyJabcdefgh."])
def test_hiding_takes_time_in_proportion_to_the_text(unit: str) -> None:
    start = time.process_time()
    hide_secrets(unit * 20_000)
    assert time.process_time() - start < 3  # about 0.2 s


def test_an_error_of_others_shows_its_traceback_and_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkt_eval.lm.excepthook._is_lm_eval", lambda: True)
    shown: list[BaseException] = []
    hook = OneLine(lambda kind, error, trace: shown.append(error))
    for text in ("at https://s3cr3t@host", "at https://host"):
        hook(OSError, OSError(text), None)
    said = capsys.readouterr().err
    assert (
        "OSError: at https***host" in said and "s3cr3t" not in said and [str(e) for e in shown] == ["at https://host"]
    )


def test_the_name_of_a_foreign_model_shows_no_secret() -> None:
    config = {"model": "local-completions", "model_args": {"model": "https://s3cr3t@host/m", "OPENAI_KEY": "s3cr3t"}}
    assert "s3cr3t" not in str(student_of(config))


def test_a_cell_that_failed_says_no_secret() -> None:
    cell = SimpleNamespace(name="lora/gsm8k")
    state = RunState([cell])  # type: ignore[list-item]  # only its name counts
    state.fail([cell], OSError("at https://s3cr3t@host"))  # type: ignore[list-item]
    assert state.statuses[cell.name].reason == "OSError: at https***host"


def test_a_value_that_looks_like_a_secret_is_another_value_still() -> None:
    """Left out, an adapter in a folder of such a name would be no adapter."""
    first, other = (without_secrets({"peft": f"sk-{name}-of-gsm8k-and-mmlu"}) for name in ("lora", "pissa"))
    assert first != other and "lora" not in str(first)
    assert without_secrets("peft=hf_loraadapterforgsm8k") == "peft=hf_loraadapterforgsm8k"
    assert without_secrets({"base_url": "https://u:p@h/v1"}) == {"base_url": "https***h/v1"}


def test_a_cell_has_the_files_that_it_lists(tmp_path: Path) -> None:
    results = tmp_path / "results_1.json"
    results.write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    (tmp_path / CELL).write_text(json.dumps({"files": {results.name: digest}}))
    check_digests(results)
    (tmp_path / CELL).write_text(json.dumps({"files": {results.name: digest, "samples_1.jsonl": digest}}))
    with pytest.raises(DataError, match=r"samples_1\.jsonl is missing"):
        check_digests(results)
    (tmp_path / CELL).write_text(json.dumps({"files": {}}))
    with pytest.raises(DataError, match="does not list it"):
        check_digests(results)


def test_an_item_is_there_once(tmp_path: Path) -> None:
    line = {"doc_id": 3, "doc": {}, "target": "1", "arguments": {"gen_args_0": {"arg_0": "q"}}, "resps": [["1"]]}
    line |= {
        "filtered_resps": ["1"],
        "filter": "none",
        "acc": 1.0,
        **dict.fromkeys(("doc_hash", "prompt_hash", "target_hash"), "h"),
    }
    path = tmp_path / "samples.jsonl"
    path.write_text(2 * (json.dumps(line) + "\n"))
    with pytest.raises(DataError, match="item 3 of t twice"):
        read_items(path, "t", "acc", "none", {})


def test_kept_answers_hold_half_a_surrogate_pair() -> None:
    assert json.loads(_lines([{"a": "\ud800"}])) == {"a": "\ud800"}


@pytest.mark.parametrize("name", ["..", ".", "a/b", "x\x1b", "n" * 101, "", "x\n", "x."])
def test_a_method_is_no_path(name: str) -> None:
    with pytest.raises(ConfigError, match="no path"):
        register(name, title="t", reference="r", paradigm="baseline")


def test_a_method_is_not_called_as_another_but_for_capitals() -> None:
    with pytest.raises(ConfigError, match="differs from 'lora' in capital letters alone"):
        register("LoRA", title="t", reference="r", paradigm="baseline")(get_method("vanilla").cls)


def test_a_new_folder_may_be_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    with new_folder(link) as folder:
        (folder / "f").write_text("x")
    assert link.is_symlink() and (tmp_path / "real" / "f").read_text() == "x"


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 95.0, -0.1])
def test_a_score_without_items_is_a_share(made, tmp_path: Path, score: float) -> None:
    """With items it is held against them."""
    results = made(tmp_path, [1, 0])
    for samples in tmp_path.glob("samples_*"):
        samples.unlink()
    content = json.loads(results.read_text())
    (task,) = content["configs"]
    (metric,) = (name for name in content["results"][task] if "," in name and "stderr" not in name)
    content["results"][task][metric] = score
    results.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"{results.name}: {metric} of {task} is .*no score"):
        read([tmp_path])
