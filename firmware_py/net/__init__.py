"""The network side: wire formats, and the endpoint that speaks them with one peer."""
