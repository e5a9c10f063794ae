"""The `gatehouse` command line. Its modules import gRPC only when a command runs, so that help is quick."""
