"""A Python that has imported what takes long, and runs each module that it is asked for in a fork.

It is a script of its own, which imports nothing of the tests or of the package: besides the
packages below, a fork has what `python -m` has. It ends when its standard input does.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import inspect
import io
import json
import logging
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
import types
import warnings
from typing import Any, NoReturn

ANY = ("onnx", "onnxruntime", "jsonschema", "doit.doit_cmd", "yaml", "filelock")
MODULES = {
    "onnx": ANY,
    "torch": (
        *ANY,
        *("torch", "torch._dynamo", "onnxscript", "networkx"),
        *("mmengine.runner", "mmcv.transforms", "matplotlib.pyplot", "scipy.optimize"),
    ),
}
"""What is imported before the first fork, by what a project has models of."""


def prepare(kind: str) -> None:
    """Import what takes long."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MODULES[kind]:
            importlib.import_module(name)
        _prepare_doit()
        if kind == "torch":
            _prepare_exports()
    gc.collect()
    gc.freeze()


def _prepare_doit() -> None:
    """Let doit have its plugins, and read no source for the lines that functions begin on."""
    plugins: Any = importlib.import_module("doit.plugin")
    plugins.entry_points = functools.cache(plugins.entry_points)
    for category in ("COMMAND", "BACKEND", "REPORTER"):
        plugins.entry_points(group=f"doit.{category}")
    loader: Any = importlib.import_module("doit.loader")

    def lines(function: Any) -> tuple[None, int]:
        return None, inspect.unwrap(function).__code__.co_firstlineno

    loader.inspect = types.SimpleNamespace(**{**vars(inspect), "getsourcelines": lines})


def _prepare_exports() -> None:
    """Let torch.onnx import and read what it needs for any model."""
    torch: Any = importlib.import_module("torch")
    registries: Any = importlib.import_module("torch.onnx._internal.exporter._registration")
    read = registries.ONNXRegistry.from_torchlib
    registries.ONNXRegistry.from_torchlib = staticmethod(functools.cache(read))
    match_sooner()
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(torch.nn.ReLU(), (torch.ones(1),), dynamo=True)
    logging.disable(logging.NOTSET)


def match_sooner() -> None:
    """Let onnxscript look at a node before it lists the whole graph to match others with it.

    For each rule that replaces several nodes it does so at each node: half of an export's time.
    """
    matching: Any = importlib.import_module("onnxscript.rewriter._matcher")
    basics: Any = importlib.import_module("onnxscript.rewriter._basics")
    plain = matching.SimplePatternMatcher.match

    @functools.wraps(plain)
    def match(self: Any, model: Any, graph: Any, node: Any, **options: Any) -> Any:
        first = self.pattern.output_nodes[0]
        if first.op.matches(node.op_type) and first.domain.matches(node.domain):
            return plain(self, model, graph, node, **options)
        return basics.MatchResult().fail("another operator")

    matching.SimplePatternMatcher.match = match


class Server:
    """Forks for whoever connects, and says how each fork ended."""

    def __init__(self, listening: socket.socket, kind: str) -> None:
        self._choice = selectors.DefaultSelector()
        self._listening = listening
        self._kind = kind
        self._is_prepared = False

    def serve(self) -> None:
        """Answer until nobody has the other end of the standard input."""
        self._choice.register(sys.stdin, selectors.EVENT_READ, None)
        self._choice.register(self._listening, selectors.EVENT_READ, self._fork)
        while True:
            for key, _ in self._choice.select():
                if key.data is None:
                    return
                key.data()

    def _fork(self) -> None:
        asking, _ = self._listening.accept()
        message, (output,), _, _ = socket.recv_fds(asking, 1 << 20, 1)
        if not self._is_prepared:
            prepare(self._kind)
            self._is_prepared = True
        child = os.fork()
        if child == 0:
            _start(asking, json.loads(message), output)
        os.close(output)
        ended = os.pidfd_open(child)
        answer = functools.partial(self._answer, asking, child, ended)
        self._choice.register(ended, selectors.EVENT_READ, answer)

    def _answer(self, asking: socket.socket, child: int, ended: int) -> None:
        found = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert found is not None
        status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        self._choice.unregister(ended)
        os.close(ended)
        # Whoever asked may send it signals until it has heard of its end, as a parent may.
        forget = functools.partial(self._forget, asking, child)
        self._choice.register(asking, selectors.EVENT_READ, forget)
        with contextlib.suppress(BrokenPipeError):
            asking.sendall(str(status).encode())

    def _forget(self, asking: socket.socket, child: int) -> None:
        self._choice.unregister(asking)
        asking.close()
        os.waitpid(child, 0)


def _start(asking: socket.socket, asked: dict[str, Any], output: int) -> NoReturn:
    """Be a process like one that a shell starts, tell which, and run what is asked for."""
    if asked["leads"]:
        os.setsid()
    # A shell that runs the tests in the background ignores interruptions, nohup a hang-up.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    asking.sendall(str(os.getpid()).encode())
    _run(asked, output)


def _run(asked: dict[str, Any], output: int) -> NoReturn:
    """Do what `python -m` does, and end this process."""
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.closerange(3, max(output, nothing, 64) + 1)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        sys.path[:0] = [asked["folder"], *paths]
        if any(os.path.isfile(os.path.join(path, "sitecustomize.py")) for path in paths):
            sys.modules.pop("sitecustomize", None)  # some systems have one of their own
            importlib.import_module("sitecustomize")
        module, *sys.argv[1:] = asked["command"]
        status = _status_of(module)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    finally:
        os._exit(status)


def _status_of(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    del sys.path[0]  # the folder of the tests
    number, kind = sys.argv[1:]
    sys.argv[:] = ["-m"]  # as `python -m` has it until the module is found; doit keeps it
    with contextlib.suppress(KeyboardInterrupt):
        Server(socket.socket(fileno=int(number)), kind).serve()
