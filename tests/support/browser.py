"""A real headless Chromium, driven through the DevTools protocol over a pipe: no driver, no WebSocket, no package.

One browser for a module; `page` is its only tab. Everything waits for what it is about, with a deadline. Documentation of the commands:
https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 20.0  # seconds for anything to appear
STEP = 0.03  # seconds between looks
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39}


def find_chromium() -> str | None:
    """Its path; None where there is none."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


class Page:
    """The tab. `faults`: errors of the page's own: exceptions, failed loads, what its policy refused."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        program = find_chromium()
        assert program, "no chromium"
        read_commands, self._to = os.pipe()
        self._from, write_events = os.pipe()

        def give() -> None:  # the browser reads descriptor 3 and writes 4
            os.dup2(read_commands, 63)
            os.dup2(write_events, 64)
            os.dup2(63, 3)
            os.dup2(64, 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=give,
            start_new_session=True,
        )
        os.close(read_commands)
        os.close(write_events)
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._heard = threading.Condition()
        self.faults: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        tabs = self.ask("Target.getTargets")["targetInfos"]
        target = next(tab["targetId"] for tab in tabs if tab["type"] == "page")
        self._session = ""
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.resize(*size)

    # -- the protocol

    def _listen(self) -> None:
        rest = b""
        while chunk := os.read(self._from, 1 << 16):
            *whole, rest = (rest + chunk).split(b"\0")
            for raw in whole:
                self._take(json.loads(raw))

    def _take(self, message: dict[str, Any]) -> None:
        with self._heard:
            if "id" in message:
                self._answers[message["id"]] = message
            elif message["method"] == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.faults.append(details.get("exception", {}).get("description") or details["text"])
            elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                entry = message["params"]["entry"]
                self.faults.append(f"{entry['text']} {entry.get('url', '')}")
            self._heard.notify_all()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._number += 1
        number = self._number
        command: dict[str, Any] = {"id": number, "method": method, "params": params}
        if getattr(self, "_session", "") and not method.startswith("Target."):
            command["sessionId"] = self._session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        with self._heard:
            while number not in self._answers:
                left = deadline - time.monotonic()
                assert left > 0, f"no answer to {method}"
                self._heard.wait(left)
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        os.close(self._to)

    # -- looking

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """What is to be read there; empty when there is no such element."""
        return str(self.js(_read(selector)))

    def texts(self, selector: str) -> list[str]:
        return list(
            self.js(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.innerText ?? e.textContent)")
        )

    def has(self, selector: str) -> bool:
        return bool(self.js(f"document.querySelector({json.dumps(selector)}) !== null"))

    def wait(self, expression: str, what: str = "") -> Any:
        """The value of an expression as soon as it is true."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.js(expression)
            if found:
                return found
            if time.monotonic() > deadline:
                shown = self.text()[:2000]
                raise AssertionError(
                    f"{what or expression} not within {PATIENCE:g} s at {self.path}:\n{shown}\n{self.faults}"
                )
            time.sleep(STEP)

    def see(self, text: str, selector: str = "body") -> None:
        """Wait until the text is to be read there."""
        self.wait(f"{_read(selector)}.includes({json.dumps(text)})", f"{text!r} in {selector}")

    @property
    def path(self) -> str:
        return str(self.js("location.pathname + location.search"))

    # -- doing

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def press(self, selector: str, text: str = "") -> None:
        """Click the first element there that is seen, and has the text: where it is, with the pointer, as a person does."""
        find = (
            f"(() => {{ const e = [...document.querySelectorAll({json.dumps(selector)})].find((e) => e.checkVisibility?.() !== false && !e.disabled"
            f" && (e.innerText ?? e.textContent).includes({json.dumps(text)})); if (!e) return false; e.scrollIntoView({{ block: 'nearest' }});"
            " const b = e.getClientRects()[0] ?? e.getBoundingClientRect(), x = b.x + b.width / 2, y = b.y + b.height / 2, top = document.elementFromPoint(x, y);"
            " return e.contains(top) && [x, y]; })()"
        )
        place = self.wait(find, f"{selector} {text!r}")
        while (
            now := self.wait(
                f"new Promise((done) => requestAnimationFrame(() => setTimeout(() => done({find}), 30)))",
                f"{selector} {text!r}",
            )
        ) != place:
            place = now  # it moves yet
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def drag(self, selector: str, dx: float, dy: float) -> None:
        """Once it stands still: what is shown makes room for what comes."""
        middle = (
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        before, (x, y) = None, self.js(middle)
        while before != (x, y):
            before = x, y
            time.sleep(0.2)
            x, y = self.js(middle)
        self.ask("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
        for part in (0.3, 0.7, 1.0):
            self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + dx * part, y=y + dy * part, button="left")
        self.ask("Input.dispatchMouseEvent", type="mouseReleased", x=x + dx, y=y + dy, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Put text in a field in place of what it holds."""
        self.wait(
            f"((e) => {{ e?.focus(); return e !== null && document.activeElement === e && (e.select?.(), true); }})(document.querySelector({json.dumps(selector)}))",
            f"{selector} takes no text",
        )
        self.ask("Input.insertText", text=text)

    def key(self, key: str, *, ctrl: bool = False) -> None:
        """Press one key: a letter, or one of `KEYS`."""
        code = KEYS.get(key, ord(key.upper()[0]))
        plain = key if len(key) == 1 and not ctrl else ("\r" if key == "Enter" else "")
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 2 if ctrl else 0}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": plain} if plain else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **common)

    def resize(self, width: int, height: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def shoot(self, path: Path) -> None:
        """A picture of what is seen."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))


def _read(selector: str) -> str:
    """Drawings have no `innerText`."""
    return f"((e) => e?.innerText ?? e?.textContent ?? '')(document.querySelector({json.dumps(selector)}))"


@contextmanager
def open_browser(folder: Path, *, size: tuple[int, int] = (1280, 720)) -> Iterator[Page]:
    """A browser with a profile of its own in `folder`, gone at the end of the block."""
    page = Page(folder, size)
    try:
        yield page
    finally:
        page.close()
