"""The child's side of ``judge``: set the limits, load the candidate, run the tests, report.

Run as a script by a fresh interpreter, never imported. It imports nothing but C modules, since every
millisecond is paid once a program. The job (see ``judge``) comes on standard input; the report goes to the
descriptor named by the first argument, one line each: ``TOKEN started`` before the candidate's first
statement, and at the end ``TOKEN STATUS PEAK_MB MESSAGE``. Only the token, which the harness draws afresh for
each run, makes a line count: an exit code, a print or a forged line says nothing.

What this does not do: it shares its process with the candidate, so a program that walks frames to find the
token can forge a report. Keeping tests and candidate apart is the jail's work.
"""

import marshal
import os
import resource
import sys

MESSAGE_CHARACTERS = 500
OPEN_FILES = 256


def set_limits(cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Sets soft and hard limits alike, so that the program cannot raise them again.

    CPU time has a second between the two: SIGXCPU tells why it ended, SIGKILL takes one that caught that.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def peak_memory_mb() -> str:
    """Peak resident memory of this process image, "-" where unknown.

    getrusage would not do: Linux carries the maximum over exec, so it would give the harness's own size.
    """
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return f"{int(line.split()[1]) / 1024:.1f}"
    except BaseException:
        pass
    return "-"


def describe(error: BaseException, sources: dict) -> str:
    """Last line of the traceback; a bare assertion is described by its source line."""
    try:
        text = str(error)
    except BaseException:
        text = "<its message cannot be shown>"
    if not text and isinstance(error, AssertionError):
        trace = error.__traceback__
        while trace is not None:
            lines = sources.get(trace.tb_frame.f_code.co_filename)
            if lines is not None and trace.tb_lineno <= len(lines):
                text = lines[trace.tb_lineno - 1].strip()
            trace = trace.tb_next
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return " ".join(line.split())[:MESSAGE_CHARACTERS]


def main() -> None:
    # Bound now: the candidate may replace what the os module offers.
    write, getpid, leave = os.write, os.getpid, os._exit
    descriptor, owner = int(sys.argv[1]), os.getpid()
    job = marshal.load(sys.stdin.buffer)
    token = job["token"]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # the job is gone from the candidate's reach, and input() ends at once
    os.close(null)
    os.set_inheritable(descriptor, False)
    out_of_memory = f"\n{token} memory - MemoryError\n".encode()  # nothing may be left to build it with then

    def report(status: str, message: str = "") -> None:
        if getpid() == owner:  # a forked copy that runs on into the tests has no say
            line = f"\n{token} {status} {peak_memory_mb()} {message}\n"
            write(descriptor, line.encode("utf-8", "replace"))

    def finish(status: str, message: str = "") -> None:
        """Reports and leaves without the candidate's atexit functions, threads and finalisers."""
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            pass
        report(status, message)
        leave(0)

    try:
        set_limits(job["cpu_seconds"], job["memory_bytes"], job["file_bytes"])
    except (OSError, ValueError, OverflowError) as error:
        finish("infrastructure", f"the limits cannot be set: {error}")
    # A module of its own, not __main__: dataclasses and pickle find it, and the main guard stays shut.
    module = type(sys)("candidate")
    sys.argv[:] = ["candidate"]
    report("started")
    sources = {}
    try:
        for name in ("candidate", "tests"):
            text, file = job[name], f"<{name}>"
            sources[file] = text.splitlines()
            try:
                code = compile(text, file, "exec", dont_inherit=True)
            except BaseException as error:
                finish("error", describe(error, sources))
            sys.modules["candidate"] = module
            exec(code, module.__dict__)
    except MemoryError:
        if getpid() == owner:
            write(descriptor, out_of_memory)
        leave(0)
    except BaseException as error:
        wrong = isinstance(error, AssertionError) and name == "tests"
        finish("failed" if wrong else "error", describe(error, sources))
    finish("passed")


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # Python 3.10 has no switch for it: the package's folder is not for the candidate to import
    main()
