"""The training loop, its checkpoints, and the two things trained: an autoencoder and a latent denoiser."""
