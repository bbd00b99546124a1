"""Running on another device: TVM RPC, trackers."""
