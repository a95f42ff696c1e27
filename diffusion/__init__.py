"""Text to image (Stable Diffusion): not landed yet."""
