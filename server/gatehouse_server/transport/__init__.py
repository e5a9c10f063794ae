"""The wire: gRPC services, protobuf to plain objects and back, and the HTTP side for operators."""
