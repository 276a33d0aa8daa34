"""A headless Chromium, by the WebDriver protocol over HTTP: chromedriver speaks it, so no client library is needed."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

DRIVERS = ("chromedriver", "/usr/lib/chromium/chromedriver")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str:
    """What keeps a browser from being started here; "" if nothing."""
    there_is = {
        kind: any(map(shutil.which, names)) for kind, names in (("Chromium", BROWSERS), ("chromedriver", DRIVERS))
    }
    return ", ".join(f"no {kind}" for kind, there in there_is.items() if not there)


class Browser:
    """One window; a context manager."""

    def __init__(self, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        driver = next(path for name in DRIVERS if (path := shutil.which(name)))
        binary = next(path for name in BROWSERS if (path := shutil.which(name)))
        self.process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.base = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        arguments += [f"--window-size={width},{height}", *(["--blink-settings=preferredColorScheme=0"] if dark else [])]
        options = {"binary": binary, "args": arguments}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            self._wait()
            self.session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.process.kill()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._of("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait(10)

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a file."""
        self._of("POST", "/url", {"url": page.resolve().as_uri() + fragment})

    def visit(self, address: str) -> None:
        """Load a page of a server."""
        self._of("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns, in the page."""
        return self._of("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str) -> None:
        """As a user would: it must be there and be seen."""
        self._of("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Keys into an element."""
        self._of("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def keys(self, *keys: str) -> None:
        """Keys to whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._of("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def console(self) -> list[str]:
        """Messages since the last call."""
        return [entry["message"] for entry in self._of("POST", "/se/log", {"type": "browser"})]

    def resize(self, width: int, height: int) -> None:
        """Of the window."""
        self._of("POST", "/window/rect", {"width": width, "height": height})

    def shot(self, path: Path) -> None:
        """A PNG of the window."""
        path.write_bytes(base64.b64decode(self._of("GET", "/screenshot")))

    def _find(self, selector: str) -> str:
        element = self._of("POST", "/element", {"using": "css selector", "value": selector})
        return next(iter(element.values()))

    def _of(self, method: str, path: str, body: Any = None) -> Any:
        return self._call(method, f"/session/{self.session}{path}", body)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def _wait(self) -> None:
        for _ in range(300):
            try:
                if self._call("GET", "/status")["ready"]:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise RuntimeError("chromedriver does not start")
