#!/usr/bin/env python3
"""acp_agent.py AGENT [ARGUMENT...]: meet an agent of the Agent Client Protocol, as an editor would.

pip install ../bindings/python; ./acp_agent.py codex-acp
"""

import os
import sys
from typing import Any

import libleash


def refuse(request: libleash.Request) -> Any:
    """An agent may ask to read files, or to run something: not with us."""
    raise libleash.RpcError(-32000, "this client allows nothing")


capabilities = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
with libleash.connect(
    sys.argv[1:],
    protocol="acp",
    initialize={"clientCapabilities": capabilities},
    on_request={"*": refuse},
) as agent:
    said = agent.initialize_result
    about = said.get("agentInfo") or {}
    print(f"agent: {about.get('name')} {about.get('version')}, protocol {said['protocolVersion']}")
    prompt = said["agentCapabilities"].get("promptCapabilities", {})
    print("takes: text", *(kind for kind, takes in prompt.items() if takes is True), sep=", ")
    for way in said.get("authMethods", []):
        print(f"log in: {way['id']}: {way['name']}")
    try:
        session = agent.call("session/new", {"cwd": os.getcwd(), "mcpServers": []})
        print("session:", session["sessionId"])
    except libleash.RpcError as refusal:
        print(f"no session: {refusal}")
