"""A teacher whole and a layer at a time: peak memory and seconds of what Seeking or LaTen take of it, a process each.

    python benchmarks/streamed.py                                     # shapes of 0.1 B into 0.03 B parameters: a minute
    python benchmarks/streamed.py --teacher 1b --student 0.3b --folder /data/random
    python benchmarks/streamed.py --teacher 7b --student 1b --how stream --limit 4 --samples 8 --folder /data/random

Weights are random, in bfloat16, and stay in the folder. Which machine it is, and what else runs on it, decides seconds,
not their ratio in one run; the order of the ways is changed from round to round. What is found has a digest. With
``--limit`` the process may have so many GB of data and heap (RLIMIT_DATA): code of libraries and files that the system
keeps in its cache are not counted. Random weights are the slowest case of a singular value decomposition.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

#: name: layers, width, width of the FFN, heads, key/value heads; Llama's vocabulary but for the smallest.
SHAPES = {
    "0.03b": (4, 512, 1376, 8, 8, 8000),
    "0.1b": (8, 1024, 2816, 16, 16, 8000),
    "0.3b": (12, 1024, 2816, 16, 4, 32000),
    "1b": (22, 2048, 5632, 32, 4, 32000),  # TinyLlama
    "7b": (32, 4096, 11008, 32, 32, 32000),  # Llama 2
    "13b": (40, 5120, 13824, 40, 40, 32000),
}
WAYS = ("whole", "stream")
#: What is measured.
WORK = ("seeking", "laten")


def configuration(name: str) -> Any:
    """Of a shape, as transformers has it."""
    from transformers import LlamaConfig

    layers, width, ffn, heads, groups, vocab = SHAPES[name]
    return LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=ffn,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=vocab,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )


def make(name: str, folder: Path) -> Path:
    """Random weights of a shape, a file a layer; what is there stays."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    path = folder / f"random-{name}"
    if (path / "config.json").exists():
        return path
    path.mkdir(parents=True, exist_ok=True)
    config = configuration(name)
    with torch.device("meta"):
        shapes = {n: p.shape for n, p in AutoModelForCausalLM.from_config(config).named_parameters()}
    files: dict[str, list[str]] = {}
    for tensor in shapes:
        part = tensor.split(".")[2] if ".layers." in tensor else "ends"
        files.setdefault(f"model-{part}.safetensors", []).append(tensor)
    generator = torch.Generator().manual_seed(0)
    for file, names in files.items():
        tensors = {
            n: torch.ones(shapes[n], dtype=torch.bfloat16)
            if "norm" in n
            else torch.randn(shapes[n], generator=generator).mul_(0.02).bfloat16()
            for n in names
        }
        save_file(tensors, path / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {n: file for file, names in files.items() for n in names}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    config.save_pretrained(path)  # last: it says that all is there
    return path


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own does."""
    if args.limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(args.limit * 1e9),) * 2)
    import torch

    from pkt_eval._util.progress import Progress, peak_memory
    from pkt_eval.extract.neurons import neuron_vectors_of
    from pkt_eval.locate.attribution import attribute_sets
    from pkt_eval.locate.places import best_places
    from pkt_eval.locate.select import neuron_counts
    from pkt_eval.methods.base import get_method
    from pkt_eval.models.blocks import dims
    from pkt_eval.models.pair import ModelPair
    from pkt_eval.models.source import ModelSource

    torch.set_num_threads(args.threads)
    source = ModelSource(str(args.folder / f"random-{args.teacher}"))
    student = SimpleNamespace(dims=dims(configuration(args.student)))
    pair = ModelPair(source, student, teacher_memory=args.run, dtype=args.dtype)  # type: ignore[arg-type]
    pair.progress = progress = Progress(enabled=args.bars)
    ids = torch.randint(0, source.dims.vocab, (args.samples, args.tokens), generator=torch.Generator().manual_seed(1))
    start, digest = time.perf_counter(), hashlib.sha256()
    with pair.read_teacher() as teacher:
        opened = time.perf_counter() - start
        if args.work == "seeking":
            half = args.tokens // 2
            examples = [{"input_ids": i, "labels": [-100] * half + i[half:]} for i in ids.tolist()]
            data: Any = SimpleNamespace(examples=lambda *_, **__: examples, splits=SimpleNamespace(benchmark="random"))
            known: Any = SimpleNamespace(the_teacher=SimpleNamespace(dims=source.dims, tokenizer=None), student=student)
            method: Any = get_method("seeking").configure({})
            found, record = method.extract(teacher, known, data, progress)
            tensors = [t for factors in found.values() for t in factors]
            digest.update(json.dumps(record).encode())
        else:
            keep = neuron_counts(student.dims, 0.1)
            sets = [[(i[:-1], int(i[-1]))] for i in ids]  # a step each
            scores = attribute_sets(teacher, sets, keep=keep, scoring="fast")
            places = [
                best_places(of, source.dims, keep, student.dims.layers, ("up", "down", "v", "o")) for of in scores
            ]
            vectors = neuron_vectors_of(teacher, places)
            tensors = [t for of_set in vectors for t in of_set.values()]
        for tensor in tensors:
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "opened": round(opened, 1),
        "stages": progress.seconds,
        "peak_gb": round((peak_memory() or 0) / 1e9, 2),
        "found": digest.hexdigest()[:12],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", choices=SHAPES, default="0.1b")
    parser.add_argument("--student", choices=SHAPES, default="0.03b")
    parser.add_argument("--work", choices=WORK, default="seeking")
    parser.add_argument("--how", choices=(*WAYS, "both"), default="both")
    parser.add_argument("--folder", type=Path, help="of the weights; default: one that is removed afterwards")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", type=float, help="GB")
    parser.add_argument("--bars", action="store_true")
    parser.add_argument("--run", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        size = sum(f.stat().st_size for f in make(args.teacher, folder).glob("*.safetensors"))
        print(
            f"{args.work}: {args.teacher} ({size / 1e9:.1f} GB) into {args.student}, "
            f"{args.samples} × {args.tokens} tokens"
        )
        ways = WAYS if args.how == "both" else (args.how,)
        for number in range(args.rounds):
            for how in ways if number % 2 == 0 else reversed(ways):
                command = [sys.executable, __file__, *sys.argv[1:], "--folder", str(folder), "--run", how]
                print(
                    f"{how:6}",
                    subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip(),
                    flush=True,
                )


if __name__ == "__main__":
    main()
