"""``pkt-eval diagnose`` from saved students to a folder, on the nano family."""

import csv
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("matplotlib")

from pkt_eval import nano
from pkt_eval._util.progress import Progress
from pkt_eval.diagnose.activations import KINDS
from pkt_eval.diagnose.command import diagnose
from pkt_eval.diagnose.report import report_markdown
from pkt_eval.errors import ConfigError
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import make_student

TASKS = ("nano_gsm8k", "nano_mbpp")


def run(*words: str) -> str:
    app = typer.Typer()
    app.command()(diagnose)
    result = CliRunner().invoke(app, [*words], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def transfer(store: Path, method: str, small: dict, **changes) -> str:
    """A small nano student in a store; the folder in which it lies there."""
    recipe = make_recipe({"method": method, **small, **changes})
    student = make_student(recipe, store=Store(store), progress=Progress(False))
    return str(Store(store).path(student.provenance.fingerprint))


LATEN = {"rank": None, "alpha": None, "max_steps": None, "train_batch_size": None, "steps": 2, "samples_per_step": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """Made once; every test looks at another side of it."""
    return tmp_path_factory.mktemp("diagnosis")


@pytest.fixture
def done(folder: Path, small: dict) -> Path:
    out = folder / "out"
    if not out.exists():
        made = [transfer(folder / "store", m, small) for m in ("seeking", "pissa")]
        made.append(transfer(folder / "store", "laten", small, **LATEN))
        words = [w for d in made for w in ("--transferred", d)] + [w for t in TASKS for w in ("--data", t)]
        said = run(*words, "--out", str(out), "--tokens", "512", "--samples", "2")
        assert f"Written to {out}" in said
    return out


TRANSFERS = ("seeking-nano_gsm8k", "pissa-nano_gsm8k", "laten-nano_gsm8k")


def read(out: Path) -> tuple[dict, dict[str, np.ndarray]]:
    return json.loads((out / "summary.json").read_text()), dict(np.load(out / "matrices.npz"))


def test_everything_is_there_and_nothing_else(done):
    numbers, _ = read(done)
    tables = ("cka", "stitching", "overlap", "parametric", "spectra")
    files = {"matrices.npz", "report.md", "summary.json", "figures", *(f"{t}.csv" for t in tables)}
    assert {f.name for f in done.iterdir()} == files
    assert [f.name for f in done.parent.iterdir() if f.name.startswith(".out")] == []
    expected = {"cka_teacher_student", "cka_within_teacher", "cka_within_student", "stitching", "overlap_teacher"}
    expected |= {"overlap_student", "weights_cosines", "weights_delta", "weights_angles", "weights_spectra"}
    expected |= {f"cka_after_{t}" for t in TRANSFERS}
    assert set(numbers["figures"]) == expected
    assert {f.name for f in (done / "figures").iterdir()} == {f"{n}.{e}" for n in expected for e in ("png", "svg")}


def test_figures_are_as_wide_as_print_needs(done):
    for path in (done / "figures").glob("*.png"):
        head = path.read_bytes()[:24]
        width, height = struct.unpack(">II", head[16:24])
        assert head[:8] == b"\x89PNG\r\n\x1a\n" and width == 1152 and 400 < height < 1000
        assert path.stat().st_size < 300_000
        assert "<svg" in path.with_suffix(".svg").read_text()[:1000]


def test_matrices_have_the_models_shapes(done):
    numbers, arrays = read(done)
    assert (numbers["tokens"], numbers["batch"], numbers["tasks"]) == (512, 256, list(TASKS))
    for kind in KINDS:
        assert arrays[f"cka/teacher/student/{kind}"].shape == (6, 4)
        np.testing.assert_allclose(np.diag(arrays[f"cka/teacher/teacher/{kind}"]), 1, atol=1e-5)
        assert arrays[f"cka/{TRANSFERS[0]}/{TRANSFERS[0]}/{kind}"].shape == (4, 4)
    assert arrays["stitching/r2"].shape == (6, 4) and arrays["stitching/r2"].max() <= 1
    assert arrays["overlap/student/value/samples"].shape == (4, 4)
    assert arrays[f"parametric/{TRANSFERS[0]}/delta_norm"].shape == (4, 4)


def test_the_numbers_are_those_of_the_matrices(done):
    numbers, arrays = read(done)
    for kind in KINDS:
        matrix = arrays[f"cka/teacher/student/{kind}"]
        said = numbers["cka"]["teacher × student"][kind]
        depth = matrix[[0, 2, 3, 5], range(4)].mean()  # of six layers, those that stand as four do
        expected = {"mean": matrix.mean(), "deviation": matrix.std(), "best": matrix.max(0).mean(), "depth": depth}
        assert said == pytest.approx(expected, rel=1e-5)
        own = arrays[f"cka/student/student/{kind}"][~np.eye(4, dtype=bool)]
        assert numbers["cka"]["student × student"][kind]["mean"] == pytest.approx(own.mean(), rel=1e-5)
    assert numbers["stitching"]["mean"] == pytest.approx(arrays["stitching/r2"].mean(), rel=1e-5)
    for label in TRANSFERS:
        for i, block in enumerate(("up", "down", "v", "o")):
            norm = arrays[f"parametric/{label}/delta_norm"][:, i].mean()
            assert numbers["parametric"][label][block]["delta_norm"] == pytest.approx(norm, rel=1e-5)
    tasks = arrays["overlap/teacher/ffn/tasks"]
    assert numbers["overlap"]["teacher"]["ffn"]["two seeds"] == pytest.approx(tasks.diagonal().mean(), rel=1e-5)
    said = numbers["cka"]["teacher × student"]["up"]
    row = f"| teacher × student | {said['mean']:.3f} ± {said['deviation']:.3f}, {said['best']:.3f} |"
    report = (done / "report.md").read_text()
    assert row in report and report == report_markdown(numbers, numbers["figures"])


def test_tables_are_the_matrices(done):
    _, arrays = read(done)
    with (done / "cka.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(a.size for name, a in arrays.items() if name.startswith("cka/"))
    for row in rows[::37]:
        matrix = arrays[f"cka/{row['rows']}/{row['columns']}/{row['output']}"]
        assert float(row["cka"]) == matrix[int(row["row_layer"]), int(row["column_layer"])]


def test_the_transfers_look_as_they_were_made(done):
    numbers, arrays = read(done)
    seeking, pissa, laten = (numbers["parametric"][label] for label in TRANSFERS)
    for block in ("up", "down", "v", "o"):
        # A principal product is part of its weight and at a right angle to the rest; a teacher's is unlike both.
        assert pissa[block]["cos_start_original"] > 0.2 > abs(seeking[block]["cos_start_original"])
        assert abs(pissa[block]["cos_start_remaining"]) < 1e-5
        assert pissa[block]["angle_out_start_weight"] < 1 < 45 < seeking[block]["angle_out_start_weight"]
        assert 0 < seeking[block]["angle_out_start_final"] < 20
        assert laten[block]["cos_final_original"] is None and laten[block]["delta_norm"] > 0
    # Some fine-tuning moves the similarity, but little.
    moved = arrays["cka/teacher/seeking-nano_gsm8k/up"] - arrays["cka/teacher/student/up"]
    assert 0 < np.abs(moved).max() < 0.2


def test_without_transfers_there_is_nothing_about_weights(tmp_path):
    out = tmp_path / "out"
    run("--data", "nano_gsm8k", "--out", str(out), "--tokens", "256", "--samples", "1")
    numbers, _ = read(out)
    assert numbers["parametric"] == {} and not (out / "parametric.csv").exists()
    assert not any(name.startswith("weights") for name in numbers["figures"])
    assert numbers["overlap"]["teacher"]["ffn"]["two tasks"] is None
    assert "## Weights" not in (out / "report.md").read_text()


def test_mistakes_are_named_before_any_work(tmp_path, tiny, small):
    out = str(tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigError, match="not empty"):
        run("--data", "nano_gsm8k", "--out", str(tmp_path / "full"))
    with pytest.raises(ConfigError, match="go together"):
        run("--data", "nano_gsm8k", "--out", out, "--teacher", nano.model_path("teacher"))
    with pytest.raises(ConfigError, match="unknown transfer_task 'nano_gsm'"):
        run("--data", "nano_gsm", "--out", out)
    with pytest.raises(ConfigError, match="chat_format='chatml'"):
        run("--data", "nano_gsm8k", "--out", out, "--chat-format", "chatml")
    _, student = tiny("llama")
    other = transfer(tmp_path / "store", "lora", small, pretrained=student)
    with pytest.raises(ConfigError, match=r"lora-nano_gsm8k was made for another student.*name its base"):
        run("--data", "nano_gsm8k", "--out", out, "--transferred", other)
    assert not list(tmp_path.glob(".out*")) and not Path(out).exists()
