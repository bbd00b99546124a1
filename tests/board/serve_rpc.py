"""Run TVM's RPC server or RPC tracker. This file runs on the board, under emulation.

It does what `python -m tvm.exec.rpc_server` does, in one process instead of two: TVM starts the
server in a second Python, and under emulation each Python needs seconds to import TVM.
"""

from __future__ import annotations

import argparse
import logging
import threading

HOST = "127.0.0.1"


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["server", "tracker"])
    parser.add_argument("--port", type=int, required=True, help="the first port to try")
    parser.add_argument("--port-end", type=int, required=True, help="one more than the last")
    parser.add_argument("--tracker", metavar="HOST:PORT")
    parser.add_argument("--key", default="")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)

    if arguments.role == "tracker":
        from tvm.rpc.tracker import PopenTrackerServerState

        state = PopenTrackerServerState(HOST, arguments.port, arguments.port_end)
    else:
        from tvm.libinfo import package_lib_paths
        from tvm.rpc.server import PopenRPCServerState
        from tvm_ffi.libinfo import load_lib_ctypes

        # Sort, top-k and random fill. Without its compiler TVM does not load them by itself.
        load_lib_ctypes("tvm", "tvm_runtime_extra", "RTLD_LOCAL", package_lib_paths())
        tracker = None
        if arguments.tracker:
            host, _, port = arguments.tracker.rpartition(":")
            tracker = (host, int(port))
        state = PopenRPCServerState(
            HOST, arguments.port, arguments.port_end, tracker_addr=tracker, key=arguments.key
        )
    # rpc_service.py waits for this line.
    print(f"listening on {HOST}:{state.port}", flush=True)
    # Not until the server's thread ends: when a session crashes, TVM's server stays there and is
    # deaf, and so is this one.
    threading.Event().wait()


if __name__ == "__main__":
    main()
