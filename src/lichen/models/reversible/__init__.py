"""A denoiser whose activations are recomputed in backward instead of stored."""
