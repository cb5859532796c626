"""libleash, in Python."""

import sys

import libleash

client = libleash.Client(sys.argv[1:])
client.call("initialize")
print("ready", flush=True)
if sys.stdin.readline().strip() == "close":
    client.close()
