"""torch.py - PyTorch's place, for who looks whether it is there."""
