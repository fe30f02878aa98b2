"""What stands between a delivery and its run: one module a control, in one documented order (`order`, docs/controls.md)."""
