"""Spec and handlers in, a running service out: HTTP by Litestar, everything else by NATS JetStream."""
