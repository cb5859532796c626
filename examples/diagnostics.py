#!/usr/bin/env python3
"""diagnostics.py FILE LANGUAGE SERVER [ARGUMENT...]: what a language server says about a file.

pip install ../bindings/python; ./diagnostics.py program.py python ruff server
"""

import sys
from pathlib import Path
from typing import Any

import libleash

if len(sys.argv) < 4:
    print("usage: diagnostics.py FILE LANGUAGE SERVER [ARGUMENT...]", file=sys.stderr)
    sys.exit(64)
file, language, server = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:]
capabilities = {
    "workspace": {"configuration": True},
    "textDocument": {"publishDiagnostics": {}},
}


def configuration(request: libleash.Request) -> Any:
    """The server asks for settings: it has none, for each that it asks for."""
    return [None for _ in request.params["items"]]


with libleash.connect(
    server,
    protocol="lsp",  # messages behind Content-Length headers
    initialize={"capabilities": capabilities, "rootUri": file.parent.as_uri()},
    on_request={"workspace/configuration": configuration, "*": lambda request: None},
) as client:
    document = {"uri": file.as_uri(), "languageId": language, "version": 1}
    client.notify("textDocument/didOpen", {"textDocument": {**document, "text": file.read_text()}})
    found: Any = None
    for event in client.events(timeout=20):
        if isinstance(event, libleash.Notification):
            if event.method == "textDocument/publishDiagnostics":
                found = event.params["diagnostics"]
                break
        elif isinstance(event, libleash.StderrLine):
            print(event.text, file=sys.stderr)
    client.call("shutdown")
    client.notify("exit")

if found is None:
    sys.exit(f"{server[0]} said nothing about {file}")
for problem in found:
    start = problem["range"]["start"]
    print(f"{file}:{start['line'] + 1}:{start['character'] + 1}: {problem['message']}")
sys.exit(1 if found else 0)
