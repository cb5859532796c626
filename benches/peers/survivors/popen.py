"""subprocess.Popen, ended as its documentation says."""

import json
import subprocess
import sys

server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
server.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize"}).encode() + b"\n")
server.stdin.flush()
server.stdout.readline()
print("ready", flush=True)
if sys.stdin.readline().strip() == "close":
    server.stdin.close()
    server.terminate()
    try:
        server.wait(2)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
