"""The language: a spec as text in, diagnostics and a frozen `Project` out. Pure: no network, no event loop, no user code run."""
