"""``--push``: what is wrong is said before the work, and the folder that is uploaded is the one that was written."""

import huggingface_hub
import pytest

from pkt_eval.errors import ConfigError, PrerequisiteError, StoreError
from pkt_eval.transfer.push import check_push, push


@pytest.fixture
def hub(monkeypatch):
    """The calls that reach the hub."""
    calls = []
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    create = lambda self, name, **how: calls.append((name, how)) or f"https://hub/{name}"  # noqa: E731
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", lambda self, **how: calls.append(how))
    return calls


@pytest.mark.parametrize("name", ["student", "a/b/c", "a/b c", "/x", "a/", "a/b..c", "x" * 300])
def test_a_name_that_is_none_is_refused_before_the_work(hub, name):
    with pytest.raises(ConfigError, match="ORG/NAME"):
        check_push(name)


def test_somebody_must_be_logged_in(hub, monkeypatch):
    check_push("acme/student")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(PrerequisiteError, match="HF_TOKEN"):
        check_push("acme/student")


def test_the_folder_goes_to_a_private_repository(hub, tmp_path):
    assert push(tmp_path, "acme/student") == "https://hub/acme/student"
    (name, how), upload = hub
    assert name == "acme/student" and how == {"private": True, "exist_ok": True}
    assert upload["repo_id"] == "acme/student" and upload["folder_path"] == tmp_path


def test_what_the_hub_refuses_is_one_line(hub, monkeypatch, tmp_path):
    def refuse(self, **how):
        raise OSError("403 Forbidden\nmany lines")

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", refuse)
    with pytest.raises(StoreError, match=r"is written, but acme/student could not be pushed: 403 Forbidden$"):
        push(tmp_path, "acme/student")
