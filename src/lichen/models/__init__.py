"""Networks, one per file, 2D or 3D by ``spatial_dims``. They know nothing of data or training."""
