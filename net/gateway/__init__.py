"""The gRPC gateway: reads the engine's handoff and streams the merged books to subscribers.

Nothing is imported here: `python -m net.gateway` passes through this file before it has asked to
end with its parent, and the imports of grpc and numba take a second.
"""
