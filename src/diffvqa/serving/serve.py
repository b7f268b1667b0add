"""A model behind an address of this machine."""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from diffvqa.answering.answer import NOTICE
from diffvqa.errors import InputError

_NEEDED = ("fastapi", "uvicorn", "python_multipart")


def serve(model: Path, host: str, port: int) -> None:
    """Serve the model of a folder until interrupted. port: 0 for any that is free.

    Raises InputError for a folder that holds no model, an address that cannot be had, and where the extra is missing.
    """
    if any(find_spec(library) is None for library in _NEEDED):
        raise InputError("serve needs libraries that are not installed: pip install 'diffvqa[serve]'")
    import uvicorn

    from diffvqa.answering.answerer import Answerer
    from diffvqa.serving.app import create_app

    # First of all: a port in use is said at once, not after the model has been loaded.
    with listen(host, port) as listener:
        answerer = Answerer.from_pretrained(model)
        app = create_app(answerer, answerer.difference.model.config.priors, [host])
        shown = f"[{host}]" if ":" in host else host
        print(f"model {answerer.version.name}, version {answerer.version.version}: http://{shown}:", end="")
        print(f"{listener.getsockname()[1]}  (stop with Ctrl-C)\n{NOTICE}", flush=True)
        if not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
            print("Whoever reaches this address can use it: there is no password and no encryption.", flush=True)
        # No access log, and no headers that say who is behind a proxy.
        settings = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        with suppress(KeyboardInterrupt):  # how it is meant to end
            uvicorn.Server(settings).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address of this machine. Raises InputError for one that cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(
            "--host: expected an address or a name of this machine, found one that is not known"
        ) from error
    except OSError as error:
        raise InputError(_why_not(error, port)) from error


def _why_not(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port: {port} is in use by another program; give another one, or 0 for any that is free"
    if error.errno == errno.EADDRNOTAVAIL:
        return "--host: expected an address of this machine, found another one's; the default is 127.0.0.1"
    return f"--port: {port} cannot be opened ({error.strerror}); give one from 1024 on"
