"""Running an artifact: on this machine, or on a device over TVM RPC."""
